"""How near a set comes to real images in one space: nearest pairs, an attack, and suspects.

Legend: N items, n draws of each, Q = N (1 + n) images, J reference images of the test split.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from d3data.evaluation.leakage.distances import SetImages, Space, nearest
from d3data.evaluation.leakage.record import Attack, Leakage, Pair, ratio
from d3data.images.tasks import Split
from d3data.utils.progress import Progress, ReportProgress
from d3data.utils.rng import generator

RATE = 0.01  # share of harmless items that are suspected for their mean, and again for draws
REFERENCE = 2048  # test images, at most, that show how near an image comes to train by chance
CLOSEST = 16  # pairs that are recorded
Z95 = 1.959964  # standard errors of a normal variable to either side in an interval of 95 %


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
    space: Space, images: SetImages, real: tuple[RealImages, RealImages], progress: ReportProgress
) -> Leakage:
    """Where the images of a set come near to real ones in one space, and whether by chance."""
    blocks: tuple[list[Any], list[Any]] = ([], [])
    done = 0
    for queries in space.set_points(images):
        for part, compared in zip(real, blocks, strict=True):
            compared.append(_compare(space, queries, part))
        done += len(queries)
        progress(Progress(f"comparing {space.name}", done, len(images)))
    joined = ([*zip(*compared, strict=True)] for compared in blocks)
    distances, rows, equal, back = zip(*joined, strict=True)
    distances, rows, equal = (tuple(map(torch.cat, each)) for each in (distances, rows, equal))
    back = tuple(torch.stack(each).amin(0) for each in back)
    ratios = ratio(*distances).unflatten(0, (images.items, -1))  # (N, 1 + n)

    def pairs(draw: Tensor, items: Tensor) -> tuple[Pair, ...]:
        """The pair of one image of each of some items."""
        at = items * ratios.shape[1] + draw[items]
        real = [column[at] for pair in zip(rows, distances, strict=True) for column in pair]
        return tuple(map(_pair, *(column.tolist() for column in (items, draw[items], *real))))

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

    (N, 1 + n) ratios of the mean and the draws of every item, and (J,) of images that the set was
    not made from.
    """
    p = p_values(ratios, reference)
    near = p[:, 0] <= RATE
    if p.shape[1] > 1:
        near |= combined_p_value(p[:, 1:]) <= RATE
    return tuple(near.nonzero().flatten().tolist())


def attack(members: Tensor, others: Tensor) -> Attack:
    """A membership attack that takes the images nearest to a set for its members.

    They are distances to the nearest image of the set, (M,) and (O,), both at least 2. The
    interval is that of DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44, 837-845: the variance
    is that of each image's share of won comparisons, over members and over others.
    """
    won, lost = _share_farther(members, others), _share_farther(others, members)
    auc = won.mean().item()
    reach = Z95 * (won.var() / len(won) + lost.var() / len(lost)).sqrt().item()
    return Attack(auc=auc, low=max(0.0, auc - reach), high=min(1.0, auc + reach))


def p_values(ratios: Tensor, reference: Tensor) -> Tensor:
    """How rarely a reference image has so low a ratio: (...) and (J,) -> (...) float64 in (0, 1].

    For an image drawn like the J reference images, and independently, p <= a in at most a share a
    of all cases, whatever the distribution (Vovk, Gammerman & Shafer 2005, "Algorithmic Learning
    in a Random World"). It is never less than 1 / (J + 1).
    """
    ordered = reference.double().sort().values
    lower = torch.searchsorted(ordered, ratios.double().contiguous(), right=True)
    return (1 + lower).double() / (1 + len(ordered))


def combined_p_value(p: Tensor) -> Tensor:
    """One p-value of n that depend on each other in any way, (N, n) -> (N,): twice their median.

    Rueger 1978, Metrika 25, 171-178: of n the k-th smallest times n / k is one.
    """
    count = p.shape[1]
    middle = (count + 1) // 2
    return (p.kthvalue(middle, dim=1).values * count / middle).clamp(max=1)


def _share_farther(distances: Tensor, others: Tensor) -> Tensor:
    """For each distance the share of `others` that are larger, ties as half: float64."""
    ordered = others.sort().values
    ends = [torch.searchsorted(ordered, distances, right=r).double() for r in (False, True)]
    return 1 - (ends[0] + ends[1]) / (2 * len(others))


def _compare(space: Space, queries: Tensor, real: RealImages) -> tuple[Tensor, ...]:
    """Distances and rows of the nearest, distances in the equal part, and those back."""
    equal, back = nearest(queries, space.real_points(real.split, real.equal))
    best = equal
    if len(real.rest):
        best = equal.nearer(nearest(queries, space.real_points(real.split, real.rest))[0])
    return best.distance.double(), best.row, equal.distance.double(), back


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
