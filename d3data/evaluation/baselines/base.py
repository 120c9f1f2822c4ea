"""What a baseline is, and what it may read: train images, never a test image."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from d3data.evaluation.record import CHUNK, TrainingData
from d3data.images.tasks import Split, Task
from d3data.nets import Network


@dataclass(frozen=True)
class BaselineContext:
    """What a baseline may use: of the task the train images, for choices those of validation."""

    task: Task
    data: TrainingData  # the set that it is compared with
    values: int | None  # of the set, as papers count them
    bytes: int | None
    train_teacher: Callable[[], Network]  # on all train images
    # validation accuracy of a network trained for a part of the steps: (name, data, divisor)
    validate: Callable[[str, TrainingData, int], float]
    device: torch.device
    steps: int | None = None  # of training on the set
    kept: dict[str, object] = field(default_factory=dict)  # from seed to seed

    @property
    def classes(self) -> int:
        """K."""
        return len(self.task.classes)

    @property
    def pixels(self) -> int:
        """C H W, the values of an image."""
        return self.task.channels * self.task.size**2

    @property
    def per_class(self) -> int:
        """How many real images of each class have as many values as the set, rounded up.

        As many as an epoch of the set has, where its values are unknown.
        """
        if self.values is None:
            return max(1, len(self.data) // self.classes)
        return -(-self.values // (self.classes * self.pixels))

    @cached_property
    def teacher(self) -> Network:
        return self.train_teacher().eval()

    @cached_property
    def features(self) -> Tensor:
        """The teacher's features of every train image, the input of its last layer: (N, D)."""
        features, train = self.teacher.features, self.task.train
        with torch.no_grad():
            pieces = torch.arange(len(train)).split(CHUNK)
            return torch.cat([features(train.read(rows).to(self.device)).cpu() for rows in pieces])

    def probabilities(self, images: Tensor) -> Tensor:
        """The teacher's probabilities: (N, C, H, W) -> (N, K)."""
        teacher = self.teacher
        with torch.no_grad():
            pieces = (piece.to(self.device) for piece in images.split(CHUNK))
            return torch.cat([teacher(piece).softmax(1).cpu() for piece in pieces])


def rows_of_classes(train: Split) -> list[Tensor]:
    """The rows of the images of each class."""
    return [(train.labels == label).nonzero().flatten() for label in range(len(train.counts()))]


def random_rows(train: Split, per_class: int, rng: torch.Generator) -> Tensor:
    """Rows drawn evenly from each class, without replacement; all, where a class has fewer."""
    classes = rows_of_classes(train)
    orders = [torch.randperm(len(rows), generator=rng)[:per_class] for rows in classes]
    return torch.cat([rows[order] for rows, order in zip(classes, orders, strict=True)])
