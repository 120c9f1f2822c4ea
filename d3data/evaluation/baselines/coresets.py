"""Real images that a network's features choose, class by class, of as many values as the set.

The features are those of a network trained on all train images. Legend: N images of a class,
D features.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from d3data.evaluation.baselines.setting import Rival, Setting, chosen, members
from d3data.utils.rng import derive

Choose = Callable[[Tensor, int], Tensor]


def herding(setting: Setting, *, rng: torch.Generator) -> Rival:
    """The images whose mean features follow those of the class (Welling 2009, ICML)."""
    return _of_each_class(setting, lambda features, count: herd(features, count))


def k_center(setting: Setting, *, rng: torch.Generator) -> Rival:
    """The images from which no other is far (Sener & Savarese 2018, arXiv 1708.00489)."""
    return _of_each_class(setting, lambda features, count: centers(features, count))


def k_means(setting: Setting, *, rng: torch.Generator) -> Rival:
    """The images nearest to the centres of clusters (Cui et al. 2022, arXiv 2207.09639)."""
    seed = int(torch.randint(1 << 31, (), generator=rng))
    return _of_each_class(setting, lambda features, count: medoids(features, count, seed))


def herd(features: Tensor, count: int) -> Tensor:
    """(N, D) -> `count` rows: each brings the mean of those chosen nearest to that of all."""
    mean, total = features.mean(0), torch.zeros(features.shape[1])
    left, rows = torch.ones(len(features), dtype=torch.bool), []
    for number in range(1, min(count, len(features)) + 1):
        apart = ((total + features) / number - mean).square().sum(1)
        rows.append(int(apart.where(left, torch.inf).argmin()))
        total, left[rows[-1]] = total + features[rows[-1]], False
    return torch.tensor(rows)


def centers(features: Tensor, count: int) -> Tensor:
    """(N, D) -> `count` rows: the one nearest to the mean, then each time the farthest one."""
    rows = [int((features - features.mean(0)).square().sum(1).argmin())]
    nearest = (features - features[rows[0]]).square().sum(1)
    while len(rows) < min(count, len(features)):
        rows.append(int(nearest.argmax()))
        nearest = nearest.minimum((features - features[rows[-1]]).square().sum(1))
    return torch.tensor(rows)


def medoids(features: Tensor, count: int, seed: int) -> Tensor:
    """(N, D) -> `count` rows, each the nearest to the centre of one of as many clusters."""
    from sklearn.cluster import KMeans

    if count >= len(features):
        return torch.arange(len(features))
    found = KMeans(count, n_init=1, random_state=derive(seed, "k-means") % (1 << 31))
    centers = torch.from_numpy(found.fit(features.numpy()).cluster_centers_).float()
    apart, rows = torch.cdist(centers, features), list[int]()
    for row in apart:  # two centres may have the same image nearest
        row[rows] = torch.inf
        rows.append(int(row.argmin()))
    return torch.tensor(rows)


def _of_each_class(setting: Setting, choose: Choose) -> Rival:
    features, each = setting.features, setting.per_class
    rows = [mine[choose(features[mine], each)] for mine in members(setting.task.train)]
    return chosen(setting, torch.cat(rows))
