"""How much the draws of one prior differ, beside how much the priors of a class do."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from d3data.data.gallery import Gallery, spread

CLASSES, DRAWS, MEANS = 10, 10, 24  # classes shown, draws of a prior, priors that are compared


@dataclass(frozen=True)
class Diversity:
    """The first prior of a class.

    Attributes:
        label: the class.
        draws: (n, C, H, W) uint8.
        within: the mean distance of two of them, as the root of the mean squared difference of
            their values, of 255.
        between: that of two means of the class; None where it has one prior.
    """

    label: int
    draws: Tensor
    within: float
    between: float | None


def diversity(gallery: Gallery | None) -> list[Diversity]:
    """Of some classes, evenly spread; none where images are stored, or there is no gallery."""
    if gallery is None or not gallery.content.source.random:
        return []
    strips = []
    for label in spread(len(gallery.names), CLASSES):
        draws, means = gallery.repeats(label, DRAWS), gallery.means(label, MEANS)
        between = distance(means) if len(means) > 1 else None
        strips.append(Diversity(label, draws, distance(draws), between))
    return strips


def distance(images: Tensor) -> float:
    """(n, C, H, W) -> the mean over pairs of the root mean squared difference of their values."""
    flat = images.flatten(1).double()
    apart: float = torch.nn.functional.pdist(flat).mean().item()
    return apart / math.sqrt(flat.shape[1])
