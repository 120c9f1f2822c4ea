"""What trials stand on: something to train on, real images to test on, and how."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol as Interface

import torch
from torch import Tensor, nn

from d3data.evaluation.protocols import Protocol
from d3data.tasks import Split, Task

CHUNK = 256  # test images at a time

Build = Callable[[], nn.Module]


class Draws(Interface):
    """What a network can be trained on: an epoch of len(draws) images, and then the next."""

    def __len__(self) -> int:
        """How many images an epoch has."""

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W), normalised as the task is, and labels (B,) or (B, K)."""


class Train(Interface):
    """A training loop of the user's own."""

    def __call__(
        self, network: nn.Module, draws: Draws, *, seed: int, device: torch.device
    ) -> None:
        """Train `network` on `draws`, in place."""


@dataclass(frozen=True)
class Ground:
    """What the trials of one report have in common.

    `train`, where it is given, takes the place of the protocol's training.
    """

    task: Task
    tests: Split
    protocol: Protocol
    device: torch.device
    train: Train | None = None


def answered(
    network: nn.Module, images: Split, device: torch.device, which: Tensor | None = None
) -> Tensor:
    """The class that `network` gives each image of a split, or `which` of them: (N,) int64."""
    network.eval()
    which = torch.arange(len(images)) if which is None else which
    with torch.no_grad():
        pieces = (images.read(some).to(device) for some in which.split(CHUNK))
        return torch.cat([network(piece).argmax(1).cpu() for piece in pieces])
