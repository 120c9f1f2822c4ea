"""Draws of a distilled set decoded to uint8 images, in blocks that bound the memory."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from d3data.artifact.drawing import CHUNK, Drawer, Latent
from d3data.errors import DeviceError
from d3data.images.spec import Image, require_colors, to_uint8

AT_ONCE = 1 << 24  # float32 values decoded at a time


def block_size(image: Image) -> int:
    """How many images are decoded at a time."""
    return max(CHUNK, AT_ONCE // image.values)


def pixels(drawer: Drawer, latent: Latent, *, residual: bool = True) -> Tensor:
    """A batch of latents, of any size, decoded to uint8 (B, C, H, W) on the CPU."""
    require_colors(drawer.image, "images to look at")
    blocks = latent.split(block_size(drawer.image))
    decoded = (drawer.decode(block, residual=residual) for block in blocks)
    return torch.cat([to_uint8(images, drawer.image).cpu() for images in decoded])


def drawn(
    drawer: Drawer, epochs: NDArray[np.int64], indices: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """The draws (B,), (B,) as uint8 images (B, C, H, W), and the items (B,) they are made from.

    Latents are made block by block: where images are stored they are as large as the images.
    """
    size = block_size(drawer.image)
    images, items = [], []
    for start in range(0, max(1, len(indices)), size):
        block = slice(start, start + size)
        latent = drawer.latents(epochs[block], indices[block])
        images.append(pixels(drawer, latent))
        items.append(latent.item)
    return torch.cat(images), torch.cat(items)


def require_main_process(device: torch.device) -> None:
    """Raise DeviceError in a worker of a DataLoader, unless the device is the CPU."""
    if device.type != "cpu" and get_worker_info() is not None:
        raise DeviceError(
            f"device {str(device)!r}: a DataLoader worker cannot decode on it; use "
            "d3data.DecodingLoader(data, batch_size, device=device), whose workers make latents "
            "and whose main process decodes them"
        )
