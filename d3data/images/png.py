"""Encodes images as PNG."""

import io

from torch import Tensor


def encode_png(pixels: Tensor) -> bytes:
    """A uint8 image (C, H, W) as the bytes of a PNG file."""
    from PIL import Image

    array = pixels.permute(1, 2, 0).numpy(force=True)
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(buffer, "png")
    return buffer.getvalue()
