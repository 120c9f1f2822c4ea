"""How near a set comes to real images in one space: nearest pairs, an attack, and suspects.

Legend: N items, n draws of each, Q = N (1 + n) images, J reference images of the test split.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from d3data.evaluation.leakage.distances import Nearest, SetImages, Space, nearest
from d3data.evaluation.leakage.record import Leakage, Pair, ratio
from d3data.evaluation.leakage.statistics import attack, combined_p_value, p_values
from d3data.images.tasks import Split
from d3data.utils.progress import Progress, ReportProgress
from d3data.utils.rng import generator

RATE = 0.01  # share of harmless items that are suspected for their mean, and again for draws
REFERENCE = 2048  # test images, at most, that show how near an image comes to train by chance
CLOSEST = 16  # pairs that are recorded


class RealImages(NamedTuple):
    """A split, and its rows: as many as the other split has, drawn at random, and the rest."""

    split: Split
    equal: Tensor
    rest: Tensor


def real_images(train: Split, test: Split) -> tuple[RealImages, RealImages]:
    """The train and the test images."""
    equal, rng = min(len(train), len(test)), generator(0, "audit")
    orders = [torch.randperm(len(split), generator=rng) for split in (train, test)]
    one, other = ([part.sort().values for part in order.tensor_split([equal])] for order in orders)
    return RealImages(train, *one), RealImages(test, *other)


def search(
    space: Space,
    images: SetImages,
    real: tuple[RealImages, RealImages],
    progress: ReportProgress,
) -> Leakage:
    """Where the images of a set come near to real ones in one space, and whether by chance.

    Raises:
        ArtifactError: the set makes values that are not finite.
    """
    blocks: tuple[list[_Block], list[_Block]] = ([], [])
    for queries in space.set_points(images):
        for part, found in zip(real, blocks, strict=True):
            found.append(_compare(space, queries, part))
        done = sum(len(block.equal) for block in blocks[0])
        progress(Progress(f"comparing {space.name}", done, len(images)))
    distances, rows, equal, back = zip(*map(_joined, blocks), strict=True)
    ratios = ratio(*distances).unflatten(0, (images.items, -1))  # (N, 1 + n)

    def pairs(draw: Tensor, items: Tensor) -> tuple[Pair, ...]:
        """The pair of one image of each of some items."""
        at = items * ratios.shape[1] + draw[items]
        columns = (
            items,
            draw[items],
            rows[0][at],
            distances[0][at],
            rows[1][at],
            distances[1][at],
        )
        return tuple(map(_pair, *(column.tolist() for column in columns)))

    every, best = torch.arange(images.items), ratios.argmin(1)
    closest = ratios.amin(1).argsort(stable=True)[:CLOSEST]
    nearer = (equal[0] < equal[1]).double() + (equal[0] <= equal[1]).double()  # ties are a half
    return Leakage(
        space=space.name,
        dimensions=space.dimensions,
        median_ratio=ratio(*equal).median().item(),
        share_nearer=nearer.mean().item() / 2,
        attack=attack(*back),
        suspects=suspects(ratios, _reference(space, real)),
        closest=pairs(best, closest),
        means=pairs(torch.zeros_like(best), every),
        draws=pairs(ratios[:, 1:].argmin(1) + 1, every) if images.draws else (),
    )


def suspects(ratios: Tensor, reference: Tensor) -> tuple[int, ...]:
    """The items of which the mean, or the draws, are nearer to train than chance explains.

    Args:
        ratios: (N, 1 + n) of the mean and the draws of every item.
        reference: (J,) of images that the set was not made from.
    """
    p = p_values(ratios, reference)
    near = p[:, 0] <= RATE
    if p.shape[1] > 1:
        near |= combined_p_value(p[:, 1:]) <= RATE
    return tuple(near.nonzero().flatten().tolist())


class _Block(NamedTuple):
    """The nearest real images of a block of queries, and how near the equal part has a query."""

    all: Nearest
    equal: Tensor
    back: Tensor


def _compare(space: Space, queries: Tensor, real: RealImages) -> _Block:
    equal, back = nearest(queries, space.real_points(real.split, real.equal))
    rest = equal
    if len(real.rest):
        rest, _ = nearest(queries, space.real_points(real.split, real.rest))
    return _Block(equal.nearer(rest), equal.distance, back)


def _joined(blocks: list[_Block]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distances and rows of the nearest, distances in the equal part, and those back."""
    return (
        torch.cat([block.all.distance for block in blocks]).double(),
        torch.cat([block.all.row for block in blocks]),
        torch.cat([block.equal for block in blocks]).double(),
        torch.stack([block.back for block in blocks]).amin(0),
    )


def _reference(space: Space, real: tuple[RealImages, RealImages]) -> Tensor:
    """The ratios of test images, each to all train and all other test images: (J,)."""
    train, test = (part.split for part in real)
    order = torch.randperm(len(test), generator=generator(0, "honest"))
    rows = order[:REFERENCE].sort().values
    queries = torch.cat([points for _, points in space.real_points(test, rows)])
    near, _ = nearest(queries, space.real_points(train, torch.arange(len(train))))
    other, _ = nearest(queries, space.real_points(test, torch.arange(len(test))), skip=rows)
    return ratio(near.distance.double(), other.distance.double())


def _pair(*values: int | float) -> Pair:
    rounded = (float(f"{v:.6g}") if isinstance(v, float) else v for v in values)
    return Pair.model_validate(dict(zip(Pair.model_fields, rounded, strict=True)))
