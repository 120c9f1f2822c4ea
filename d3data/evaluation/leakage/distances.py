"""Which real images the images of a set come nearest to, in bounded memory.

Legend: N items, n draws of each, Q queries, B real images at a time, D values of a point,
C H W an image. A distance is the root of the mean square difference over the D values.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d3data.artifact.drawing import Drawer
from d3data.data.dataset import DistilledDataset
from d3data.errors import ArtifactError
from d3data.evaluation.record import CHUNK, TrainingData
from d3data.images.spec import Image, to_unit
from d3data.images.tasks import Split, Task
from d3data.nets import Network

BLOCK = 1 << 23  # values of the queries that are compared at a time
REAL = 1024  # real images that these are compared with at a time


class Nearest(NamedTuple):
    """The nearest real image of each query: its distance, (Q,) float32, and its row, (Q,)."""

    distance: Tensor
    row: Tensor

    def nearer(self, other: "Nearest") -> "Nearest":
        keep = self.distance <= other.distance
        return Nearest(*(torch.where(keep, a, b) for a, b in zip(self, other, strict=True)))


class SetImages:
    """The images of a set that are compared with real ones: N means, and n draws of each.

    Image i is of item i div (1 + n): its mean, and then its draws, which are the first that
    `draw` of the set gives. An item that stores an image is that image, and n is 0.
    """

    def __init__(self, data: TrainingData, draws: int, *, device: torch.device) -> None:
        self._data, self._device = data, device
        self.draws, self.items = 0, len(data)
        if isinstance(data, DistilledDataset):
            self.draws = draws if data.drawer.random else 0
            self.items = len(data.drawer.item_classes)

    def __len__(self) -> int:
        return self.items * (1 + self.draws)

    def images(self, numbers: Tensor) -> Tensor:
        """(B,) -> (B, C, H, W), normalized, on the device; ArtifactError unless finite."""
        if isinstance(self._data, DistilledDataset):
            images = self._decoded(self._data.on(self._device), numbers.numpy())
        else:
            images = self._data.batch(0, numbers, device=self._device)[0]
        if not images.isfinite().all():
            raise ArtifactError("the set makes values that are not finite: it cannot be audited")
        return images

    def _decoded(self, drawer: Drawer, numbers: NDArray[np.int64]) -> Tensor:
        items, turns = np.divmod(numbers, 1 + self.draws)
        means, drawn = turns == 0, turns > 0
        images = torch.empty(len(numbers), *drawer.image.shape, device=self._device)
        if means.any():
            latents = drawer.mean_latents(items[means])
            images[torch.from_numpy(means)] = drawer.decode(latents, residual=False)
        if drawn.any():
            at = _epochs_and_indices(drawer, items[drawn], turns[drawn] - 1)
            images[torch.from_numpy(drawn)] = drawer.images(*at)
        return images


def _epochs_and_indices(
    drawer: Drawer, items: NDArray[np.int64], turns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the set makes draw number `turns` (from 0) of each of some items."""
    classes = drawer.item_classes[items]
    first = items - np.searchsorted(drawer.item_classes, classes)
    of_class = first + turns * drawer.items_per_class[classes]
    epochs, turns = np.divmod(of_class, drawer.draws_per_class)
    return epochs, turns * len(drawer.items_per_class) + classes


@dataclass(frozen=True)
class Space:
    """What images are compared in: `embed` takes normalized ones, (B, C, H, W) -> (B, D)."""

    name: Literal["pixels", "features"]
    dimensions: int
    embed: Callable[[Tensor], Tensor]
    device: torch.device

    def points(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D), scaled so that distances are roots of mean squares."""
        parts = [self.embed(part.to(self.device)).flatten(1) for part in images.split(CHUNK)]
        return torch.cat(parts).div_(math.sqrt(self.dimensions))

    def real_points(self, split: Split, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Some images of a split: their rows (B,), and them as points (B, D)."""
        return ((part, self.points(split.read(part))) for part in rows.split(REAL))

    def set_points(self, images: SetImages) -> Iterator[Tensor]:
        """All images of a set as points (Q, D), in blocks of at most `BLOCK` values."""
        for block in torch.arange(len(images)).split(max(1, BLOCK // self.dimensions)):
            yield torch.cat([self.points(images.images(part)) for part in block.split(CHUNK)])


def image_of(task: Task) -> Image:
    """The shape and normalization of a task's images."""
    return Image(channels=task.rule.channels, size=task.size, mean=task.mean, std=task.std)


def pixels(task: Task, device: torch.device) -> Space:
    """Colors from 0 to 1, clipped; so a distance of 0.1 is a tenth of the way to white."""
    image = image_of(task)
    return Space("pixels", image.values, lambda images: to_unit(images, image), device)


def features(network: Network, device: torch.device) -> Space:
    """What the last layer of a network reads."""
    return Space("features", network.classifier.in_features, network.eval().features, device)


def nearest(
    queries: Tensor, real: Iterable[tuple[Tensor, Tensor]], *, skip: Tensor | None = None
) -> tuple[Nearest, Tensor]:
    """The nearest real image of each of (Q, D) queries, and how near each of them has a query.

    `real` yields rows (B,) and points (B, D); `skip` is (Q,) a row for each query that is left
    out, as it is the query itself. A matrix product finds the pairs, and loses digits of small
    distances; so these are computed again, from the differences. Results are on the CPU.
    """
    best = Nearest(torch.full((len(queries),), torch.inf), torch.full((len(queries),), -1))
    squares, back = queries.square().sum(1)[:, None], []
    for rows, points in real:
        apart = torch.addmm(points.square().sum(1), queries, points.T, alpha=-2).add_(squares)
        if skip is not None:
            apart[(skip[:, None] == rows).to(apart.device)] = torch.inf
        column, row = apart.argmin(1), apart.argmin(0)
        alone = apart.gather(1, column[:, None])[:, 0].isinf()  # nothing but the query itself
        distance = (queries - points[column]).norm(dim=1).masked_fill(alone, torch.inf)
        best = best.nearer(Nearest(distance.cpu(), rows[column.cpu()]))
        back.append((points - queries[row]).norm(dim=1).cpu())
    return best, torch.cat(back)
