"""Images as PNG files and Pillow images."""

import io
from typing import TYPE_CHECKING

from torch import Tensor

from d3data.images.formats.index import Images

if TYPE_CHECKING:
    from PIL import Image


def picture(images: Images, index: int) -> "Image.Image":
    """Open one image; its pixels are decoded when they are first looked at."""
    from PIL import Image

    found = images.read(index)
    return Image.open(io.BytesIO(found)) if isinstance(found, bytes) else found


def png(pixels: Tensor) -> bytes:
    """A uint8 image (C, H, W) as the bytes of a PNG file."""
    from PIL import Image

    array = pixels.permute(1, 2, 0).numpy(force=True)
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(buffer, "png")
    return buffer.getvalue()
