"""How much a set draws: whether draws of one item differ."""

import torch
from torch import Tensor

from d3data.artifact.artifact import Artifact
from d3data.sources.base import Source
from d3data.utils.rng import generator

MOST = 100  # items of a part that are looked at
LOT = 25  # that are decoded at a time


def variety(artifact: Artifact) -> float | None:
    """How far two draws of one item are apart, over those of two items of its class.

    Root mean squares of differences of pixels. 0 where an item is one image; None where no class
    has two items.
    """
    pairs = [_pairs(source, number) for number, source in enumerate(artifact.sources())]
    same, other = (torch.cat([*pieces]) for pieces in zip(*pairs, strict=True))
    if not other.any():
        return None
    return float((same.mean() / other.mean()).sqrt())


@torch.no_grad()
def _pairs(source: Source, number: int) -> tuple[Tensor, Tensor]:
    """Mean squared differences of two draws of each item, and of draws of it and of the next."""
    rng, chosen = generator(0, "variety", number), MOST // len(source.members)
    members = [items[: max(2, chosen)] for items in source.members if len(items) > 1]
    same, other = [torch.zeros(0)], [torch.zeros(0)]
    for items in members:
        for lot in items.split(LOT):
            first, second = source.images(lot, rng), source.images(lot, rng)
            same.append((first - second).square().mean((1, 2, 3)))
            if len(lot) > 1:
                other.append((first - second.roll(1, 0)).square().mean((1, 2, 3)))
    return torch.cat(same), torch.cat(other)
