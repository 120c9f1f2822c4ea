"""The draws of a set in order, and the same as data sets of `datasets`.

Legend: D draws per class, K classes.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import repeat
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from d3data.artifact.artifact import Artifact
from d3data.artifact.drawing import Drawer
from d3data.data.materialize import block_size, drawn, require_main_process
from d3data.errors import ExportError
from d3data.images.formats import hub_datasets
from d3data.images.formats.base import Sample, shard_ranges
from d3data.images.spec import Image, require_colors
from d3data.utils.checks import whole
from d3data.utils.packages import naming_packages
from d3data.utils.version import __version__

SHARD_IMAGES, SHARD_BYTES = 10_000, 64 << 20  # at most, the bytes as uint8 values
MIN_SHARDS = 8  # so that each of several workers of a loader has some
STREAM_PIECE = 256  # draws: at most so many are repeated when a stream is resumed


@runtime_checkable
class Drawable(Protocol):
    """What an export needs of a `DistilledDataset`."""

    artifact: Artifact
    drawer: Drawer
    device: torch.device
    soft_labels: bool


class DrawStream:
    """The draws of a set in order, epoch after epoch, as uint8 images.

    Pickled, it is as small as the set's manifest; the other process reads the tensors itself.
    """

    artifact: Artifact
    classes: tuple[str, ...]
    image: Image
    soft: bool
    device: torch.device
    epoch: int
    draws_per_class: int
    seed: int

    def __init__(self, data: Drawable) -> None:
        self.artifact, content = data.artifact, data.artifact.manifest.content
        require_colors(content.image, "a finite copy")
        self.image, self.classes, self.soft = content.image, content.classes, data.soft_labels
        self.device, self.epoch = data.device, len(data.drawer)
        self.seed, self.draws_per_class = data.drawer.seed, data.drawer.draws_per_class
        self._drawer: Drawer | None = data.drawer

    def samples(self, start: int, stop: int) -> Iterator[Sample]:
        """Draws `start` to `stop`, those of epoch 0 first, as `materialize` returns them."""
        drawer, block = self._open(), block_size(self.image)
        soft_labels = drawer.soft_labels() if self.soft else None
        for first in range(start, stop, block):
            epochs, draws = np.divmod(np.arange(first, min(stop, first + block)), self.epoch)
            images, items = drawn(drawer, epochs, draws)
            soft: Any = repeat(None) if soft_labels is None else soft_labels[items]
            yield from map(Sample, images, (draws % len(self.classes)).tolist(), soft)

    def identity(self, images: int) -> dict[str, Any]:
        """What decides the first `images` draws, and the license of the set."""
        manifest = self.artifact.manifest
        return {
            "name": manifest.about.name,
            "version": manifest.about.version,
            "licence": manifest.about.provenance.license,
            "source": manifest.about.provenance.source,
            "content_sha256": manifest.content_sha256,
            "seed": str(self.seed),
            "draws_per_epoch": self.epoch,
            "labels": "soft" if self.soft else "hard",
            "device": str(self.device),
            "images": images,
            "d3data": __version__,
        }

    def count(self, draws_per_class: int | None) -> int:
        """How many images so many draws of each class are, by default those of an epoch."""
        each = self.draws_per_class if draws_per_class is None else draws_per_class
        return whole(each, "draws_per_class", least=1, error=ExportError) * len(self.classes)

    def _open(self) -> Drawer:
        """The drawer on the device, which is kept."""
        require_main_process(self.device)
        if self._drawer is None:
            self._drawer = Drawer(
                self.artifact.manifest.content,
                self.artifact.sources(),
                seed=self.seed,
                draws_per_class=self.draws_per_class,
            )
        if self._drawer.device != self.device:
            self._drawer = self._drawer.to(self.device)
        return self._drawer

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_drawer": None}


@naming_packages()
def to_hf(data: Drawable, draws_per_class: int | None = None) -> Any:
    """The same images as a `datasets.Dataset` in the cache of `datasets`, written there once."""
    draws = DrawStream(data)
    images = draws.count(draws_per_class)
    shards = default_shards(images, draws.image.values)
    identity = json.dumps([draws.identity(images), shards], sort_keys=True)
    return hub_datasets.to_dataset(
        draws.samples,
        shard_ranges(images, shards),
        classes=draws.classes,
        soft=draws.soft,
        identity=sha256(identity.encode()).hexdigest()[:32],
    )


@naming_packages()
def to_iterable(data: Drawable, epochs: int = 1) -> Any:
    """The draws of the first epochs as a `datasets.IterableDataset`, drawn while it is read.

    It consists of pieces of at most 256 draws, which workers and ranks share; resumed from its
    `state_dict`, it repeats at most one piece.
    """
    epochs = whole(epochs, "epochs", least=1, error=ExportError)
    draws = DrawStream(data)
    each = min(draws.epoch, max(MIN_SHARDS, -(-draws.epoch // STREAM_PIECE)))
    return hub_datasets.to_dataset(
        draws.samples,
        shard_ranges(epochs * draws.epoch, epochs * each),
        classes=draws.classes,
        soft=draws.soft,
    )


def default_shards(images: int, values: int) -> int:
    """How many shards so many images of so many values are cut into.

    >>> [default_shards(*size) for size in ((5, 784), (1000, 784), (100_000, 3072))]
    [5, 8, 10]
    >>> default_shards(10_000, 150_528)
    23
    """
    largest = max(1, min(SHARD_IMAGES, SHARD_BYTES // values))
    return min(images, max(MIN_SHARDS, -(-images // largest)))
