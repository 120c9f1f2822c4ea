"""Images for Pillow, and as PNG."""

import io
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    import PIL.Image


def to_pil(pixels: Tensor) -> "PIL.Image.Image":
    """A uint8 image (C, H, W) as one of mode L or RGB."""
    import PIL.Image

    array = pixels.permute(1, 2, 0).numpy(force=True)
    return PIL.Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def encode_png(pixels: Tensor) -> bytes:
    """A uint8 image (C, H, W) as the bytes of a PNG file."""
    buffer = io.BytesIO()
    to_pil(pixels).save(buffer, "png")
    return buffer.getvalue()
