"""Finite copies of a distilled set, as uint8 images: what people look at and other tools take.

Legend: K classes, D draws per class, N items, C H W an image.
"""

import numpy as np
import torch
from torch import Tensor

from d3data.artifact.drawing import CHUNK, Drawer, Latent
from d3data.images.spec import require_colors, to_uint8

AT_ONCE = 1 << 24  # values decoded at a time, beside the pixels that are made of them


def first_of_classes(drawer: Drawer, classes: list[int], n: int) -> tuple[Tensor, Tensor]:
    """The first `n` draws of each of these classes, class after class, and their classes."""
    turns, of = np.tile(np.arange(n), len(classes)), np.repeat(np.array(classes, np.int64), n)
    epochs, turns = np.divmod(turns, drawer.draws_per_class)
    indices = turns * len(drawer.items_per_class) + of
    return pixels(drawer, drawer.latents(epochs, indices)), torch.from_numpy(of)


def means(drawer: Drawer) -> tuple[Tensor, Tensor]:
    """The image without noise of every item, (N, C, H, W), and (N,) classes."""
    latent = drawer.mean_latents(np.arange(len(drawer.item_classes)))
    return pixels(drawer, latent, residual=False), torch.from_numpy(drawer.item_classes)


def between(drawer: Drawer, a: int, b: int, steps: int) -> Tensor:
    """(steps, C, H, W): from the mean of item `a` to that of item `b`, without noise.

    Raises:
        D3DataError: nothing is decoded, or not by one decoder.
    """
    return pixels(drawer, drawer.line(a, b, steps), residual=False)


def pixels(drawer: Drawer, latent: Latent, *, residual: bool = True) -> Tensor:
    """A batch, however large, decoded to uint8 (B, C, H, W) on the CPU.

    Raises:
        D3DataError: the set's values are no colours.
    """
    require_colors(drawer.image, "images to look at")
    pieces = latent.split(max(CHUNK, AT_ONCE // drawer.image.values))
    decoded = (drawer.decode(piece, residual=residual) for piece in pieces)
    return torch.cat([to_uint8(images, drawer.image).cpu() for images in decoded])
