"""What trials stand on: something to train on, real images to test on, and how."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol as Interface

import torch
from torch import Tensor, nn

from d3data.errors import TrainingError
from d3data.evaluation.protocols import Protocol
from d3data.images.tasks import Split, Task
from d3data.nets.compute import AS_WRITTEN, Compute

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
    compute: Compute = AS_WRITTEN


def answered(
    network: nn.Module, images: Split, device: torch.device, which: Tensor | None = None
) -> Tensor:
    """The class that `network` gives each image of a split, or `which` of them: (N,) int64.

    Raises:
        TrainingError: it gives what is not finite.
    """
    network.eval()
    which = torch.arange(len(images)) if which is None else which
    answers = []
    with torch.no_grad():
        for some in which.split(CHUNK):
            logits = network(images.read(some).to(device))
            if not logits.isfinite().all():
                raise TrainingError(
                    "the network's answers are not finite: lower the learning rate"
                )
            answers.append(logits.argmax(1).cpu())
    return torch.cat(answers)
