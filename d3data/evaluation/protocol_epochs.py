"""What an epoch of a distilled set is under a protocol.

That of D3 is a draw of every prior and, where labels are soft, the image of its mean: Qin, Deng,
Alvarez-Melis 2024, arXiv 2403.00999. Legend: N priors, K classes.
"""

import torch
from torch import Tensor

from d3data.data.dataset import DistilledDataset
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import TrainingData
from d3data.utils.device import to_device


class MeansAndDraws:
    """N means, the same in every epoch, and as many draws of each class as the largest has priors.

    In a class with fewer priors they take turns, so that each class comes up as often.
    """

    def __init__(self, data: DistilledDataset) -> None:
        self._drawn = every_item(data)
        self._labels = labels_of_items(data)
        self.learned_labels = data.learned_labels

    def __len__(self) -> int:
        return len(self._labels) + len(self._drawn)

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        means, parts = indices < len(self._labels), []
        if means.any():
            items, drawer = indices[means], self._drawn.on(device)
            images = drawer.decode(drawer.mean_latents(items.numpy()), residual=False)
            parts.append((images, to_device(self._labels[items], device)))
        if not means.all():
            rows = indices[~means] - len(self._labels)
            parts.append(self._drawn.batch(epoch, rows.numpy(), device=device))
        order = torch.cat([means.nonzero(), (~means).nonzero()]).flatten().argsort()
        order = to_device(order, device)
        images, labels = (torch.cat(part)[order] for part in zip(*parts, strict=True))
        return images, labels


def trained_on(data: TrainingData, protocol: Protocol) -> TrainingData:
    """The data with the epochs of a protocol; with their own where they were not distilled."""
    if not isinstance(data, DistilledDataset) or protocol.draws == "set":
        return data
    if protocol.draws == "means" and has_priors(data) and data.soft_labels:
        return MeansAndDraws(data)
    if isinstance(protocol.draws, int):
        return like(data, draws_per_class=protocol.draws)
    return every_item(data)


def every_item(data: DistilledDataset) -> DistilledDataset:
    """The set with an epoch of as many draws of each class as the largest class has items."""
    return like(data, draws_per_class=int(data.drawer.items_per_class.max()))


def like(
    data: DistilledDataset, *, draws_per_class: int | None = None, soft_labels: bool | None = None
) -> DistilledDataset:
    """The same set with other epochs, or labels of another kind."""
    return DistilledDataset(
        data.artifact,
        seed=data.seed,
        draws_per_class=draws_per_class or data.draws_per_class,
        soft_labels=data.soft_labels if soft_labels is None else soft_labels,
    )


def labels_of_items(data: DistilledDataset) -> Tensor:
    """The label of every item, of the kind that the set's draws have: (N,) or (N, K)."""
    soft = data.drawer.soft_labels() if data.soft_labels else None
    return torch.from_numpy(data.drawer.item_classes) if soft is None else soft


def has_priors(data: TrainingData) -> bool:
    """Whether it is a set of priors, whose means are images too."""
    return isinstance(data, DistilledDataset) and data.drawer.random


def has_learned_labels(data: TrainingData) -> bool:
    """Whether its labels are numbers to be predicted by squared errors, not probabilities."""
    return bool(getattr(data, "learned_labels", False))
