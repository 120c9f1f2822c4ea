"""What an epoch of a distilled set is under a protocol.

That of D3 is the image of every prior's mean, and a draw of every prior: Qin, Deng,
Alvarez-Melis 2024, arXiv 2403.00999. Legend: N priors, K classes.
"""

import torch
from torch import Tensor

from d3data.data.dataset import DistilledDataset
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.setup import Draws


class MeansAndDraws:
    """N means, the same in every epoch, and as many draws of each class as it has priors.

    A class with fewer priors than another comes up as often: its priors take turns.
    """

    def __init__(self, data: DistilledDataset) -> None:
        self._drawn = every_item(data)
        self._labels = labels_of_items(data)

    def __len__(self) -> int:
        return len(self._labels) + len(self._drawn)

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and labels (B,) or (B, K)."""
        still = indices < len(self._labels)
        items, others = indices[still], indices[~still] - len(self._labels)
        drawer = self._drawn.on(device)
        means = drawer.decode(drawer.mean_latents(items.numpy()), residual=False)
        drawn, labels = self._drawn.batch(epoch, others.numpy(), device=device)
        places = torch.cat([still.nonzero(), (~still).nonzero()]).flatten().argsort().to(device)
        of = torch.cat([self._labels[items].to(device), labels])
        return torch.cat([means, drawn])[places], of[places]


def trained_on(draws: Draws, protocol: Protocol) -> Draws:
    """The epochs that networks see of a set under a protocol; its own if it was not distilled."""
    if not isinstance(draws, DistilledDataset) or protocol.draws == "set":
        return draws
    if protocol.draws == "means" and has_priors(draws):
        return MeansAndDraws(draws)
    if isinstance(protocol.draws, int):
        return like(draws, draws_per_class=protocol.draws)
    return every_item(draws)


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
    known = data.drawer.soft_labels() if data.soft_labels else None
    return torch.from_numpy(data.drawer.item_classes) if known is None else known


def has_priors(draws: Draws) -> bool:
    """Whether it is a set of Gaussian priors, whose means are images too."""
    return isinstance(draws, DistilledDataset) and draws.drawer.random
