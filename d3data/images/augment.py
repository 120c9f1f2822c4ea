"""Differentiable Siamese augmentation: one random change, replayed on real and synthetic images.

Zhao & Bilen, "Dataset condensation with differentiable Siamese augmentation", 2021, section 3.2
and its published code, arXiv 2102.08259; the colour operations are those of Zhao et al., 2020,
arXiv 2006.10738. `move` and `nudge` are what Zhao, Mopuri & Bilen, 2021, arXiv 2006.05929, and its
published code evaluate MNIST and networks with batch norm by.

What is drawn is a table of uniform numbers, on the CPU; what is applied is a differentiable
function of images and that table. So the same numbers act on any batch, on any device, again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from d3data.errors import entry
from d3data.utils.device import to_device
from d3data.utils.schema import Frozen

BRIGHTNESS = 1.0  # added: [-0.5, 0.5) in normalised values
SATURATION = 2.0  # factor on the distance from grey: [0, 2)
CONTRAST = 0.5  # factor on the distance from the image's mean: [0.5, 1.5)
SHIFT = 0.125  # of the side, in whole pixels, either way
HOLE = 0.5  # of the side
FLIP = 0.5  # probability
SCALE = 1.2  # width and height apart: the picture is sampled [1/1.2, 1.2) times as widely
ROTATION = 15.0  # degrees, either way
MOVE_PIXELS, MOVE_SCALE, MOVE_DEGREES = 4, 0.2, 45  # to less than that
NUMBERS = 3  # uniform numbers that an operation may use for an image

OperationName = Literal["color", "crop", "cutout", "flip", "scale", "rotate", "move", "nudge"]


@dataclass(frozen=True)
class Drawn:
    """What was drawn: the operations, in order, each with its numbers in [0, 1).

    Numbers are (B, 3), or (1, 3) for any batch whose images share them.
    """

    steps: tuple[tuple[OperationName, Tensor], ...]


class Augmentation(Frozen):
    """Random changes of images: `draw` what to do, then `apply` it, as often as is wanted.

    Attributes:
        operations: what may be done.
        choose: do one operation per batch, drawn evenly (the field's strategy "S"); otherwise do
            all of them in their order.
    """

    operations: tuple[OperationName, ...]
    choose: bool = True

    def draw(self, count: int, rng: torch.Generator, *, shared: bool = False) -> Drawn:
        """Draw the changes of a batch of `count` images, from a generator on the CPU.

        Where they are shared, all images get the same numbers, and then a batch of any size may
        be given to `apply`: what real and synthetic batches share.
        """
        chosen = self.operations
        if self.choose and chosen:
            chosen = (chosen[int(torch.randint(len(chosen), (), generator=rng))],)
        rows = 1 if shared else count
        return Drawn(tuple((name, torch.rand(rows, NUMBERS, generator=rng)) for name in chosen))

    def __call__(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Change each image of a batch (B, C, H, W) in its own way."""
        return self.apply(images, self.draw(len(images), rng))

    def apply(self, images: Tensor, drawn: Drawn) -> Tensor:
        """(B, C, H, W) normalised -> (B, C, H, W): differentiable in the images."""
        for name, numbers in drawn.steps:
            assert len(numbers) in (1, len(images)), "numbers drawn for a batch of another size"
            images = operations[name](images, numbers.to(images.dtype))
        return images


# Each operation takes images (B, C, H, W) and its numbers (B, 3), or (1, 3) for all, on the CPU.
# What follows from the numbers alone is computed there, for it is next to nothing.


def color(images: Tensor, uniform: Tensor) -> Tensor:
    """Brightness, then saturation, then contrast."""
    brightness, saturation, contrast = uniform[:, :, None, None, None].unbind(1)
    images = images + _like(images, (brightness - 0.5) * BRIGHTNESS)
    gray = images.mean(1, keepdim=True)
    images = (images - gray) * _like(images, saturation * SATURATION) + gray
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * _like(images, contrast + CONTRAST) + mean


def crop(images: Tensor, uniform: Tensor) -> Tensor:
    """Shift by whole pixels; zeros come in."""
    height, width = images.shape[-2:]
    tall, wide = (int(side * SHIFT + 0.5) for side in (height, width))
    down = _whole(uniform[:, 0], 2 * tall + 1) - tall
    return _shifted(images, down, _whole(uniform[:, 1], 2 * wide + 1) - wide)


def _shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Read each image so many pixels further down and right, (B,) each; zeros come in."""
    height, width = images.shape[-2:]
    rows, down = _lines(height, down)
    columns, right = _lines(width, right)
    shape = images.shape
    images = images.gather(2, _like(images, rows[:, None, :, None]).expand(shape))
    images = images.gather(3, _like(images, columns[:, None, None, :]).expand(shape))
    return images * _like(images, (down[:, :, None] & right[:, None, :])[:, None])


def _lines(side: int, shift: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) -> where each line is read and whether that is inside the image, (B, side) each."""
    source = torch.arange(side) + shift[:, None]
    return source.clamp(0, side - 1), (source >= 0) & (source < side)


def cutout(images: Tensor, uniform: Tensor) -> Tensor:
    """Set a square to zero; it may hang over the edge."""
    height, width = images.shape[-2:]
    rows, columns = _hole(height, uniform[:, 0]), _hole(width, uniform[:, 1])
    return images * _like(images, ~(rows[:, :, None] & columns[:, None, :])[:, None])


def _hole(side: int, uniform: Tensor) -> Tensor:
    """(B,) -> which lines the hole covers: (B, side)."""
    length = int(side * HOLE + 0.5)
    first = _whole(uniform, side + 1 - length % 2) - length // 2
    lines = torch.arange(side) - first[:, None]
    return (lines >= 0) & (lines < length)


def flip(images: Tensor, uniform: Tensor) -> Tensor:
    """Mirror left and right."""
    mirrored = _like(images, uniform[:, 0, None, None, None] < FLIP)
    return torch.where(mirrored, images.flip(3), images)


def scale(images: Tensor, uniform: Tensor) -> Tensor:
    """Stretch width and height, each by its own factor, about the centre."""
    factors = uniform[:, :2] * (SCALE - 1 / SCALE) + 1 / SCALE
    return _warped(images, torch.diag_embed(factors))


def rotate(images: Tensor, uniform: Tensor) -> Tensor:
    """Rotate about the centre."""
    return _rotated(images, (uniform[:, 0] - 0.5) * 2 * math.radians(ROTATION))


def _rotated(images: Tensor, angle: Tensor) -> Tensor:
    sine, cosine = angle.sin(), angle.cos()
    return _warped(images, torch.stack([cosine, -sine, sine, cosine], 1).view(-1, 2, 2))


def move(images: Tensor, uniform: Tensor) -> Tensor:
    """Shift each image by up to 4 pixels, stretch it by a fifth, or rotate it by 45 degrees.

    An image's own mean comes in, but zeros where it is stretched.
    """
    kind = _like(images, _whole(uniform[:, 0], 3)[:, None, None, None])
    factors = 1 + (uniform[:, 1:] * 2 - 1) * MOVE_SCALE
    stretched = _warped(images, torch.diag_embed(1 / factors))
    mean = images.mean((2, 3), keepdim=True)
    degrees = _whole(uniform[:, 1], 2 * MOVE_DEGREES) - MOVE_DEGREES
    rotated = _rotated(images - mean, degrees.to(uniform.dtype).deg2rad()) + mean
    moved = torch.where(kind == 1, stretched, rotated)
    return torch.where(kind == 0, _cropped(images, uniform), moved)


def nudge(images: Tensor, uniform: Tensor) -> Tensor:
    """Shift half of the images by up to 4 pixels, where their own mean comes in."""
    still = _like(images, uniform[:, 0, None, None, None] < 0.5)
    return torch.where(still, images, _cropped(images, uniform))


def _cropped(images: Tensor, uniform: Tensor) -> Tensor:
    """Shift each image by its numbers but the first, -4 to 3 pixels."""
    mean = images.mean((2, 3), keepdim=True)
    shifts = _whole(uniform[:, 1:], 2 * MOVE_PIXELS) - MOVE_PIXELS
    return _shifted(images - mean, shifts[:, 0], shifts[:, 1]) + mean


def _warped(images: Tensor, matrices: Tensor) -> Tensor:
    """Read each image at `matrices` (B, 2, 2) times its coordinates in [-1, 1]; zeros outside."""
    theta = _like(images, pad(matrices, (0, 1))).expand(len(images), -1, -1)
    grid = affine_grid(theta, list(images.shape), align_corners=True)
    return grid_sample(images, grid, align_corners=True)


def _whole(uniform: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1) -> whole numbers 0 .. count - 1."""
    return (uniform * count).long().clamp(max=count - 1)


def _like(images: Tensor, table: Tensor) -> Tensor:
    return to_device(table, images.device)


operations: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    operation.__name__: operation
    for operation in (color, crop, cutout, flip, scale, rotate, move, nudge)
}

augmentations = {
    "none": Augmentation(operations=()),
    "siamese": Augmentation(operations=("color", "crop", "cutout", "flip", "scale", "rotate")),
    # for classes that a mirror changes, as it does digits and letters
    "siamese-noflip": Augmentation(operations=("color", "crop", "cutout", "scale", "rotate")),
    "flip-crop": Augmentation(operations=("flip", "crop"), choose=False),
    "move": Augmentation(operations=("move",)),
    "nudge": Augmentation(operations=("nudge",)),
}


def augmentation(name: str) -> Augmentation:
    """The augmentation of that name; RecipeError where there is none."""
    return entry(augmentations, name, what="augmentation")
