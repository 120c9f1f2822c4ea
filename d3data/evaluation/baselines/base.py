"""What a baseline is, and what it may read: train images, never a test image."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from d3data.evaluation.adapters import Photographs
from d3data.evaluation.record import CHUNK, TrainingData
from d3data.images.tasks import Split, Task
from d3data.nets import Network


class RowData(NamedTuple):
    """What the networks of one row are trained on, and its size.

    Attributes:
        data: the images and labels.
        images_per_class: how many real images are stored; None where new images are drawn.
        values: stored values, as papers count them: one for each pixel value or label.
        bytes: stored bytes.
        note: how it was made, where the row's name does not say it.
        steps: of training, where they are not what the protocol says for these data.
    """

    data: TrainingData
    images_per_class: int | None
    values: int | None
    bytes: int | None
    note: str = ""
    steps: int | None = None


@dataclass(frozen=True)
class BaselineContext:
    """What a baseline may use.

    Attributes:
        task: the real images: the train images, and for choices the validation images.
        data: the set that it is compared with.
        values: stored values of the set, as papers count them; None where unknown.
        bytes: stored bytes of the set; None where unknown.
        train_teacher: trains a network on all train images.
        validate: the validation accuracy of a network that is trained on some data, for the
            protocol's steps over a divisor: (name, data, divisor) -> accuracy.
        device: where networks are.
        steps: of training on the set; None where it does not matter.
        kept: what a baseline keeps from seed to seed.
    """

    task: Task
    data: TrainingData
    values: int | None
    bytes: int | None
    train_teacher: Callable[[], Network]
    validate: Callable[[str, TrainingData, int], float]
    device: torch.device
    steps: int | None = None
    kept: dict[str, object] = field(default_factory=dict)

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
        """A network that was trained on all train images."""
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


def of_rows(context: BaselineContext, rows: Tensor) -> RowData:
    """The train images of these rows, with hard labels."""
    train = context.task.train
    values = len(rows) * context.pixels
    data = Photographs(train.read(rows), train.labels[rows])
    return RowData(data, -(-len(rows) // context.classes), values, values)


def rows_of_classes(train: Split) -> list[Tensor]:
    """The rows of the images of each class."""
    return [(train.labels == label).nonzero().flatten() for label in range(len(train.counts()))]


def random_rows(train: Split, per_class: int, rng: torch.Generator) -> Tensor:
    """Rows drawn evenly from each class, without replacement; all, where a class has fewer."""
    return torch.cat(
        [
            rows[torch.randperm(len(rows), generator=rng)[:per_class]]
            for rows in rows_of_classes(train)
        ]
    )
