"""Opens images with Pillow and encodes them as PNG."""

import io
from typing import TYPE_CHECKING

from torch import Tensor

from d3data.images.formats.index import Images

if TYPE_CHECKING:
    from PIL import Image


def open_image(images: Images, index: int) -> "Image.Image":
    """Open one image; its pixels are decoded when they are first accessed."""
    from PIL import Image

    content = images.read(index)
    return Image.open(io.BytesIO(content)) if isinstance(content, bytes) else content


def decode_error(failure: Exception) -> str:
    """Why an image cannot be decoded, for a message that names the image."""
    from PIL import UnidentifiedImageError

    if isinstance(failure, UnidentifiedImageError):
        return "not an image file that Pillow can read"
    return str(failure) or type(failure).__name__


def encode_png(pixels: Tensor) -> bytes:
    """A uint8 image (C, H, W) as the bytes of a PNG file."""
    from PIL import Image

    array = pixels.permute(1, 2, 0).numpy(force=True)
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(buffer, "png")
    return buffer.getvalue()
