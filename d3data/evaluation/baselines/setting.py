"""What a baseline is, and what it may look at: train images, never a test image."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple
from typing import Protocol as Interface

import torch
from torch import Tensor

from d3data.errors import DataError
from d3data.evaluation.setup import CHUNK, Draws
from d3data.images.tasks import Split, Task
from d3data.nets import Network


class Photographs:
    """Images that stay as they are, the same in every epoch.

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


class Rival(NamedTuple):
    """What a network is trained on instead of the set.

    Attributes:
        draws: the images and labels.
        images_per_class: how many are stored; None where that says nothing.
        values: that are stored, as papers count them: one for each pixel value or label.
        bytes: that are stored.
        note: how it was made, where the name does not say it.
        steps: for how long, where that is not what the protocol says for these draws.
    """

    draws: Draws
    images_per_class: int | None
    values: int | None
    bytes: int | None
    note: str = ""
    steps: int | None = None


@dataclass(frozen=True)
class Setting:
    """What a baseline may look at.

    Attributes:
        task: the real images; of these the train images, and for choices the validation ones.
        draws: the set that it is compared with.
        values: that the set stores, as papers count them; None where it does not say.
        bytes: that the set stores; likewise.
        teach: trains a network on all train images.
        judge: the validation accuracy of a network that is trained on some draws, for the
            protocol's steps over a number.
        device: where networks are.
        steps: for how long the set is trained on; None where it does not matter.
    """

    task: Task
    draws: Draws
    values: int | None
    bytes: int | None
    teach: Callable[[], Network]
    judge: Callable[[str, Draws, int], float]
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
        """How many real images of each class take as many values as the set, or a few more.

        As many as the set itself has in an epoch, where it does not say.
        """
        if self.values is None:
            return max(1, len(self.draws) // self.classes)
        return -(-self.values // (self.classes * self.pixels))

    @cached_property
    def teacher(self) -> Network:
        """A network that was trained on all train images."""
        return self.teach().eval()

    @cached_property
    def features(self) -> Tensor:
        """What the teacher's last layer reads of every train image, (N, D) float32."""
        features, train = self.teacher.features, self.task.train
        with torch.no_grad():
            pieces = torch.arange(len(train)).split(CHUNK)
            return torch.cat([features(train.read(some).to(self.device)).cpu() for some in pieces])

    def probabilities(self, images: Tensor) -> Tensor:
        """What the teacher says of some images: (N, C, H, W) -> (N, K)."""
        teacher = self.teacher
        with torch.no_grad():
            pieces = (piece.to(self.device) for piece in images.split(CHUNK))
            return torch.cat([teacher(piece).softmax(1).cpu() for piece in pieces])

    def bytes_of_set(self) -> int:
        """What the set weighs.

        Raises:
            DataError: it does not say.
        """
        if self.bytes is None:
            raise DataError(
                "baselines of equal bytes need a set that says its bytes: an artifact, which "
                "d3data.load reads"
            )
        return self.bytes


class Baseline(Interface):
    """Makes what a network is trained on, for one seed."""

    def __call__(self, setting: Setting, *, rng: torch.Generator) -> Rival:
        """The rival, of the setting's train images alone."""


def chosen(setting: Setting, rows: Tensor, *, note: str = "") -> Rival:
    """Some train images by their number, as float32 prototypes with hard labels."""
    train = setting.task.train
    values = len(rows) * setting.pixels
    each = -(-len(rows) // setting.classes)
    pictures = Photographs(train.read(rows), train.labels[rows])
    return Rival(pictures, each, values, values, note)


def members(train: Split) -> list[Tensor]:
    """The numbers of the images of each class."""
    return [(train.labels == label).nonzero().flatten() for label in range(len(train.counts()))]


def drawn(train: Split, per_class: int, rng: torch.Generator) -> Tensor:
    """Numbers of images drawn evenly, without replacement; all, where a class has fewer."""
    return torch.cat(
        [mine[torch.randperm(len(mine), generator=rng)[:per_class]] for mine in members(train)]
    )
