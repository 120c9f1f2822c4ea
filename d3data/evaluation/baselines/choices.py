"""What a baseline may use; and real images that are random, or chosen by a network; and means.

The network is trained on all train images. Legend: N images of a class, D features.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from d3data.data.dataset import DistilledDataset
from d3data.evaluation.adapters import Photographs
from d3data.evaluation.protocol_epochs import labels_of_items
from d3data.evaluation.record import CHUNK, RowData, TrainingData
from d3data.images.selection import centers, herd, medoids
from d3data.images.tasks import Split, Task
from d3data.nets import Network

Choose = Callable[[Tensor, int], Tensor]
FLOAT = 4  # bytes of a label's value


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
    networks: int = 1  # that are trained on a baseline
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


def random(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """Images drawn evenly from each class, with as many values as the set, rounded up."""
    return _of_rows(context, random_rows(context.task.train, context.per_class, rng))


def random_bytes(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """Images drawn evenly from each class, with as many bytes as the set at one a value."""
    assert context.bytes is not None, "baselines of equal bytes need bytes"
    each = -(-context.bytes // (context.classes * context.pixels))
    return _of_rows(context, random_rows(context.task.train, each, rng))


def soft(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """Random images with a teacher's probabilities as labels.

    Labels are counted among the values: "a label is worth a thousand images"
    (Qin et al. 2024, arXiv 2406.10485).
    """
    each = context.pixels + context.classes  # values of an image and its label
    per_class = context.per_class
    if context.values is not None:
        per_class = -(-context.values // (context.classes * each))
    rows = random_rows(context.task.train, per_class, rng)
    images = context.task.train.read(rows)
    data = Photographs(images, context.probabilities(images))
    size = len(rows) * (context.pixels + FLOAT * context.classes)
    return RowData(data, per_class, len(rows) * each, size)


def means(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """The means of the set's priors: one image of each, the same in every epoch."""
    data = context.data
    assert isinstance(data, DistilledDataset), "means are of priors"
    latents = data.drawer.mean_latents(range(len(data.drawer.item_classes)))
    images = data.drawer.decode(latents, residual=False)
    return RowData(Photographs(images, labels_of_items(data)), None, context.values, context.bytes)


def real(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """All train images, for as many steps as the set is trained on, or the protocol says."""
    train = context.task.train
    values = len(train) * context.pixels
    each = len(train) // context.classes
    return RowData(Photographs(train, train.labels), each, values, values, steps=context.steps)


def herding(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """Images whose mean feature is nearest to that of the class (Welling 2009, ICML)."""
    return _of_each_class(context, herd)


def k_center(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """The images from which no other is far (Sener & Savarese 2018, arXiv 1708.00489)."""
    return _of_each_class(context, centers)


def k_means(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """The images nearest to the centers of clusters (Cui et al. 2022, arXiv 2207.09639)."""
    seed = int(torch.randint(1 << 31, (), generator=rng))
    return _of_each_class(context, lambda features, count: medoids(features, count, seed))


def _of_each_class(context: BaselineContext, choose: Choose) -> RowData:
    features, members = context.features, rows_of_classes(context.task.train)
    rows = [mine[choose(features[mine], context.per_class)] for mine in members]
    return _of_rows(context, torch.cat(rows))


def _of_rows(context: BaselineContext, rows: Tensor) -> RowData:
    """The train images of these rows, with hard labels."""
    train = context.task.train
    values = len(rows) * context.pixels
    data = Photographs(train.read(rows), train.labels[rows])
    return RowData(data, -(-len(rows) // context.classes), values, values)
