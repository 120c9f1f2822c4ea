"""What one space shows of a set: its nearest real images, an attack, and its suspects.

Legend: N items, n draws of each, Q = N (1 + n) images, J honest test images.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from d3data.evaluation.leakage.distances import Copies, Found, Space, nearest
from d3data.evaluation.leakage.record import Leakage, Pair, ratio
from d3data.evaluation.leakage.statistics import attack, merged, p_values
from d3data.images.tasks import Split
from d3data.utils.progress import Progress
from d3data.utils.rng import generator

RATE = 0.01  # of honest items that are suspected for their mean, and again for their draws
HONEST = 2048  # test images that say how near an image comes to train by chance, at most
CLOSEST = 16  # pairs that are told


class Crowd(NamedTuple):
    """Real images of a split: as many as the other split has, drawn at random, and the rest."""

    split: Split
    even: Tensor
    rest: Tensor


class Near(NamedTuple):
    """The nearest real images of Q images, in all of a split, and in its even part."""

    all: Found
    even: Found


def crowds(train: Split, test: Split) -> tuple[Crowd, Crowd]:
    """The train and the test images."""
    equal, rng = min(len(train), len(test)), generator(0, "audit")
    orders = [torch.randperm(len(split), generator=rng) for split in (train, test)]
    one, other = ([half.sort().values for half in order.tensor_split([equal])] for order in orders)
    return Crowd(train, *one), Crowd(test, *other)


def search(
    space: Space,
    copies: Copies,
    crowds: tuple[Crowd, Crowd],
    progress: Callable[[Progress], None],
) -> Leakage:
    """Where the images of a set come near to real ones in one space, and whether by chance.

    Raises:
        ArtifactError: the set makes values that are not finite.
    """
    near, back = _compared(space, copies, crowds, progress)
    apart = [found.all.distance.double() for found in near]
    even = [found.even.distance.double() for found in near]
    ratios = ratio(*apart).unflatten(0, (copies.items, -1))  # (N, 1 + n)
    rows = [found.all.row for found in near]

    def pairs(draw: Tensor, items: Tensor) -> tuple[Pair, ...]:
        """The pair of one image of each of some items."""
        at = items * ratios.shape[1] + draw[items]
        columns = (items, draw[items], rows[0][at], apart[0][at], rows[1][at], apart[1][at])
        return tuple(map(_pair, *(column.tolist() for column in columns)))

    every = torch.arange(copies.items)
    best = ratios.argmin(1)
    order = ratios.amin(1).argsort(stable=True)[:CLOSEST]
    drawn = ratios[:, 1:].argmin(1) + 1 if copies.draws else None
    return Leakage.model_validate(
        {
            "space": space.name,
            "dimensions": space.dimensions,
            "median_ratio": ratio(*even).median().item(),
            "share_nearer": _nearer(*even),
            "attack": attack(*back),
            "suspects": suspected(ratios, _honest(space, crowds)),
            "closest": pairs(best, order),
            "means": pairs(torch.zeros_like(best), every),
            "draws": () if drawn is None else pairs(drawn, every),
        }
    )


def _compared(
    space: Space,
    copies: Copies,
    crowds: tuple[Crowd, Crowd],
    progress: Callable[[Progress], None],
) -> tuple[list[Near], list[Tensor]]:
    """The nearest images of each crowd for all copies, and how near its even part has a copy."""
    near: list[list[Near]] = [[], []]
    back = [torch.full((len(crowd.even),), torch.inf) for crowd in crowds]
    done = 0
    for queries in space.copies(copies):
        for number, crowd in enumerate(crowds):
            even, reached = nearest(queries, space.real(crowd.split, crowd.even))
            found = even
            if len(crowd.rest):
                found = even.nearer(nearest(queries, space.real(crowd.split, crowd.rest))[0])
            near[number].append(Near(found, even))
            back[number] = torch.minimum(back[number], reached)
        done += len(queries)
        progress(Progress(f"comparing {space.name}", done, len(copies)))
    return [_joined(blocks) for blocks in near], back


def _joined(blocks: list[Near]) -> Near:
    parts = (Found(*map(torch.cat, zip(*part, strict=True))) for part in zip(*blocks, strict=True))
    return Near(*parts)


def _honest(space: Space, crowds: tuple[Crowd, Crowd]) -> Tensor:
    """The ratios of test images, each to all train and all other test images: (J,)."""
    train, test = (crowd.split for crowd in crowds)
    order = torch.randperm(len(test), generator=generator(0, "honest"))
    some = order[:HONEST].sort().values
    queries = torch.cat([points for _, points in space.real(test, some)])
    near, _ = nearest(queries, space.real(train, torch.arange(len(train))))
    other, _ = nearest(queries, space.real(test, torch.arange(len(test))), but=some)
    return ratio(near.distance.double(), other.distance.double())


def suspected(ratios: Tensor, honest: Tensor) -> list[int]:
    """The items of which the mean, or the draws, are nearer to train than chance explains."""
    p = p_values(ratios, honest)
    found = p[:, 0] <= RATE
    if p.shape[1] > 1:
        found |= merged(p[:, 1:]) <= RATE
    suspects: list[int] = found.nonzero().flatten().tolist()
    return suspects


def _nearer(train: Tensor, test: Tensor) -> float:
    """The share of images that are nearer to train; ties count as half."""
    return ((train < test).double() + (train <= test).double()).mean().item() / 2


def _pair(*values: int | float) -> Pair:
    names = Pair.model_fields
    rounded = (float(f"{v:.6g}") if isinstance(v, float) else v for v in values)
    return Pair.model_validate(dict(zip(names, rounded, strict=True)))
