"""The epoch that D3 trains on: the image of every prior's mean, and a draw of every prior.

Qin, Deng, Alvarez-Melis 2024, arXiv 2403.00999. Legend: N priors, K classes.
"""

import torch
from torch import Tensor

from d3data.dataset import DistilledDataset
from d3data.evaluation.trials import Draws


class MeansAndDraws:
    """N means, the same in every epoch, and as many draws of each class as it has priors.

    A class with fewer priors than another comes up as often: its priors take turns.
    """

    def __init__(self, data: DistilledDataset) -> None:
        most = int(data.drawer.items_per_class.max())
        self._drawn = DistilledDataset(
            data.artifact, seed=data.seed, draws_per_class=most, soft_labels=data.soft_labels
        )
        known = data.drawer.soft_labels() if data.soft_labels else None
        self._labels = torch.from_numpy(data.drawer.item_classes) if known is None else known

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


def with_means(draws: Draws) -> Draws:
    """D3's epochs of a set of Gaussian priors; of any other set its own."""
    if isinstance(draws, DistilledDataset) and draws.drawer.sources[0].latent_values:
        return MeansAndDraws(draws)
    return draws
