"""What the trials of an evaluation share, and the record that each leaves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from typing import Protocol as Interface

import torch
from torch import Tensor, nn

from d3data.evaluation.protocols import Protocol
from d3data.images.tasks import Split, Task
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.utils.schema import Frozen

Labels = Literal["hard", "soft"]
Build = Callable[[], nn.Module]  # makes a network, with weights from the global generator

CHUNK = 256  # images that are read at a time
MOST_CONFUSED = 100  # classes up to which a trial records its confusion matrix


class TrainingData(Interface):
    """What a network can be trained on: epochs of len(data) images."""

    def __len__(self) -> int:
        """The images of an epoch."""

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W), normalized as the task is, and labels (B,) or (B, K)."""


class TrainingLoop(Interface):
    """A training loop of the user's own."""

    def __call__(
        self, network: nn.Module, data: TrainingData, *, seed: int, device: torch.device
    ) -> None:
        """Train `network` on `data`, in place."""


@dataclass(frozen=True)
class EvalSetup:
    """What the trials of a report have in common.

    Attributes:
        task: the real images.
        tests: those that networks are tested on.
        protocol: how networks are trained.
        device: where.
        train: the user's own training loop, in place of the protocol's.
        compute: whether networks are compiled.
    """

    task: Task
    tests: Split
    protocol: Protocol
    device: torch.device
    train: TrainingLoop | None = None
    compute: Compute = AS_WRITTEN


class Point(Frozen):
    """A point of a learning curve.

    Attributes:
        step: how many steps the optimizer has taken.
        seconds: of training so far.
        loss: of the last step.
        accuracy: on at most 1,000 validation images; nothing is chosen by it.
    """

    step: int
    seconds: float
    loss: float
    accuracy: float


class Trial(Frozen):
    """The result of one network.

    Attributes:
        seed: of its first weights, the order of its images and their augmentation.
        learning_rate: at the start of training; None under the user's own training loop.
        accuracy: the share of test images that it classifies correctly, after the last step.
        per_class: the same for each class; None for one without test images.
        confusion: (K, K) counts of test images, rows by their class, columns by the predicted
            one; None for more than 100 classes.
        loss: the training loss of the last step; None under the user's own training loop.
        steps: of the optimizer; 0 under the user's own training loop.
        images: that it was trained on, repeats counted.
        flops: floating-point operations of its training: decoding, forward and backward; None
            where the network's cannot be counted.
        memory: the peak bytes that training allocated on a CUDA device; None elsewhere.
        seconds: that training took.
        curve: the learning curve.
    """

    seed: int
    learning_rate: float | None
    accuracy: float
    per_class: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    loss: float | None
    steps: int
    images: int
    flops: int | None
    memory: int | None
    seconds: float
    curve: tuple[Point, ...]
