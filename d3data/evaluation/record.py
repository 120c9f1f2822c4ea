"""What the trials of an evaluation share, the record that each leaves, and rows of these."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self
from typing import Protocol as Interface

import torch
from pydantic import SerializerFunctionWrapHandler, model_serializer
from torch import Tensor, nn

from d3data.evaluation.protocols import Protocol
from d3data.images.tasks import Split, Task
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.utils.schema import Frozen

Labels = Literal["hard", "soft"]
Build = Callable[[], nn.Module]  # makes a network, with weights from the global generator

CHUNK = 256  # images that are read at a time
UNBALANCED = 1.5  # times the test images of another class
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
    """What the trials of a report have in common."""

    task: Task
    tests: Split
    protocol: Protocol
    device: torch.device
    train: TrainingLoop | None = None
    compute: Compute = AS_WRITTEN


class RowData(NamedTuple):
    """What the networks of one row are trained on, and its size."""

    data: TrainingData
    images_per_class: int | None  # real images that are stored; None where new ones are drawn
    values: int | None  # as papers count them: one for each pixel value or label
    bytes: int | None
    note: str = ""  # how it was made, where the row's name does not say it
    steps: int | None = None  # of training, where the protocol does not say them


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
        reestimated: on how many draws running statistics of its norms were estimated again before
            the test, since it was trained too briefly for their momentum; 0 where it was not.
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
    reestimated: int = 0

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(serialize(self), "reestimated", 0)

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the accuracies of classes that have test images."""
        return statistics.fmean(one for one in self.per_class if one is not None)


class Row(Frozen):
    """Networks that were trained on one set of images, and their accuracies.

    Attributes:
        name: `distilled`, or the baseline's.
        network: what was trained on it.
        labels: hard (classes), or soft (a probability for each class).
        note: how it was made, where the name does not say it.
        draws: the images of an epoch.
        images_per_class: real images of each class; None where new images are drawn.
        values: stored values, as papers count them; None where unknown.
        bytes: stored bytes; of real images as uint8; None where unknown.
        rates: each learning rate that was tried, and the validation accuracy of one network; the
            best rate was taken.
        mean: of the trials' accuracies, in [0, 1].
        std: their sample standard deviation (n - 1); None for one network.
        balanced: the mean of the trials' balanced accuracies; None where classes have about as
            many test images.
        trials: each network's own numbers.
    """

    name: str
    network: str
    labels: Labels
    note: str
    draws: int
    images_per_class: int | None
    values: int | None
    bytes: int | None
    rates: tuple[tuple[float, float], ...]
    mean: float
    std: float | None
    balanced: float | None = None
    trials: tuple[Trial, ...]

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(serialize(self), "balanced", None)

    @classmethod
    def of(
        cls,
        name: str,
        trials: Sequence[Trial],
        *,
        network: str,
        labels: Labels,
        of: RowData,
        rates: Mapping[float, float] | None = None,
        unbalanced: bool = False,
    ) -> Self:
        """The row of some trials; `of` is what the first one was trained on.

        `unbalanced` says that classes have very different numbers of test images.
        """
        accuracies = [trial.accuracy for trial in trials]
        return cls(
            name=name,
            network=network,
            labels=labels,
            note=of.note,
            draws=len(of.data),
            images_per_class=of.images_per_class,
            values=of.values,
            bytes=of.bytes,
            rates=tuple((rates or {}).items()),
            mean=statistics.fmean(accuracies),
            std=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            balanced=statistics.fmean(trial.balanced_accuracy for trial in trials)
            if unbalanced
            else None,
            trials=tuple(trials),
        )

    @property
    def seconds(self) -> float:
        """Training time of all trials."""
        return sum(trial.seconds for trial in self.trials)

    def cells(self) -> dict[str, str]:
        """The cells of the row in the table of accuracies, by their headings."""
        counts = {
            "images/class": self.images_per_class,
            "values": self.values,
            "bytes": self.bytes,
        }
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        return {
            "trained on": self.name,
            "network": self.network,
            "labels": self.labels,
            **{name: "-" if count is None else f"{count:,}" for name, count in counts.items()},
            "accuracy %": f"{100 * self.mean:.1f}{spread}",
            **({} if self.balanced is None else {"balanced %": f"{100 * self.balanced:.1f}"}),
            "all seconds": f"{self.seconds:.0f}",
        }


def is_unbalanced(tests: Split) -> bool:
    """Whether one class has more than 1.5 times the test images of another that has some."""
    counts = [count for count in tests.counts() if count]
    return max(counts) > UNBALANCED * min(counts)


def _without(values: dict[str, Any], key: str, usual: object) -> dict[str, Any]:
    """Leave out a usual value that older reports, whose bytes are known by hash, have not."""
    return values if values[key] != usual else {k: v for k, v in values.items() if k != key}
