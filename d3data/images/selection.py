"""Real images that stand for their class, chosen by features: N images of D features each."""

import torch
from torch import Tensor

from d3data.utils.rng import derive


def herd(features: Tensor, count: int) -> Tensor:
    """(N, D) -> `count` rows: each one brings their mean as near as possible to that of all."""
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
    clusters = KMeans(count, n_init=1, random_state=derive(seed, "k-means") % (1 << 31))
    centers = torch.from_numpy(clusters.fit(features.numpy()).cluster_centers_).float()
    apart, rows = torch.cdist(centers, features), list[int]()
    for row in apart:  # two centers may have the same nearest image
        row[rows] = torch.inf
        rows.append(int(row.argmin()))
    return torch.tensor(rows)
