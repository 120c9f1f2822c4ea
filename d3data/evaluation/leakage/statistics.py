"""What chance alone explains of how near a set comes to the images that it was made from."""

import torch
from torch import Tensor

from d3data.utils.schema import Frozen

Z95 = 1.959964  # standard errors of a normal variable to either side in an interval of 95 %


class Attack(Frozen):
    """How well distances tell images that a set was made from ("members") from others.

    Attributes:
        auc: how often a member is nearer to the set than another image; ties count as half. It
            is the area under the attack's curve, 0.5 where distances tell nothing.
        low: where the interval of 95 % around it begins.
        high: where it ends.
    """

    auc: float
    low: float
    high: float


def attack(members: Tensor, others: Tensor) -> Attack:
    """A membership attack that takes the images nearest to a set for its members.

    The interval is that of DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44, 837-845: the
    variance is that of each image's share of won comparisons, over members and over others.

    Args:
        members: (M,) distances to the nearest image of the set, of images it was made from.
        others: (O,) likewise, of images that it has not seen; both at least 2.
    """
    won, lost = _share_farther(members, others), _share_farther(others, members)
    auc = won.mean().item()
    reach = Z95 * (won.var() / len(won) + lost.var() / len(lost)).sqrt().item()
    return Attack(auc=auc, low=max(0.0, auc - reach), high=min(1.0, auc + reach))


def p_values(ratios: Tensor, reference: Tensor) -> Tensor:
    """How rarely a reference image has so low a ratio: (...) float64, in (0, 1].

    For an image drawn like the J reference images, and independently, p <= a in at most a share a
    of all cases, whatever the distribution (Vovk, Gammerman & Shafer 2005, "Algorithmic Learning
    in a Random World"). It is never less than 1 / (J + 1).

    Args:
        ratios: (...) of a set.
        reference: (J,) of images that the set was not made from.
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
