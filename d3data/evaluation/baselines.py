"""Baselines: real images that take as many stored values as the set, chosen without learning.

A baseline is one function of the real train images: how many of each class, and a generator.
"""

from typing import Protocol as Interface

import torch
from torch import Tensor

from d3data.errors import entry
from d3data.evaluation.trials import Draws
from d3data.tasks import Split, Task


class Photographs:
    """Real images that stay as they are, the same in every epoch.

    Args:
        images: (N, C, H, W) normalised float32.
        labels: (N,) int64, or (N, K) probabilities.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.images)

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and their labels, whatever the epoch."""
        return self.images[indices].to(device), self.labels[indices].to(device)


def random(train: Split, per_class: int, *, rng: torch.Generator) -> Photographs:
    """Images of each class drawn evenly, without replacement; all, where a class has fewer."""
    chosen = []
    for label in range(len(train.counts())):
        members = (train.labels == label).nonzero().flatten()
        chosen.append(members[torch.randperm(len(members), generator=rng)[:per_class]])
    indices = torch.cat(chosen)
    return Photographs(train.read(indices), train.labels[indices])


def per_class(draws: Draws, task: Task, *, values: int | None) -> int:
    """How many real images of each class take as many values as the set, rounded in their favour.

    Args:
        draws: the set.
        task: what the images would be of.
        values: that the set stores, as papers count them; None where it stores its images.
    """
    classes = len(task.classes)
    if values is None:
        return max(1, len(draws) // classes)
    return -(-values // (classes * task.channels * task.size**2))


class Baseline(Interface):
    """Chooses `per_class` images of each class of `train`."""

    def __call__(self, train: Split, per_class: int, *, rng: torch.Generator) -> Draws:
        """What a network is trained on."""


baselines: dict[str, Baseline] = {"random": random}


def named(name: str) -> Baseline:
    """The baseline of that name.

    Raises:
        RecipeError: there is none.
    """
    return entry(baselines, name, what="baseline")
