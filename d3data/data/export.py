"""Finite copies of a distilled set as files, for tools that cannot draw.

A copy is built in a hidden folder beside its destination, shard by shard, and renamed when it is
complete. If the export is interrupted, the same call writes the missing shards; the bytes are
those of an export that ran through.

Legend: D draws per class, K classes.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch

from d3data.artifact.artifact import Artifact
from d3data.artifact.drawing import Drawer
from d3data.data.materialize import block_size, drawn, require_main_process
from d3data.errors import ExportError, entry
from d3data.images.formats import WRITERS, hub_datasets
from d3data.images.formats.base import ExportPlan, Sample, Writer, shard_ranges
from d3data.images.formats.resumable_export import RECORD, ResumableExport, place, require_same
from d3data.images.spec import require_colors
from d3data.utils.atomic import write_bytes
from d3data.utils.checks import whole
from d3data.utils.version import __version__

Format = Literal["imagefolder", "npz", "parquet", "webdataset"]
SHARD_IMAGES, SHARD_BYTES = 10_000, 64 << 20  # at most, the bytes as uint8 values
MIN_SHARDS = 8  # so that each of several workers of a loader has some
REPORT_EVERY = 100  # images
STREAM_PIECE = 256  # draws: at most so many are repeated when a stream is resumed


@runtime_checkable
class Drawable(Protocol):
    """What an export needs of a `DistilledDataset`."""

    artifact: Artifact
    drawer: Drawer
    device: torch.device
    soft_labels: bool


@dataclass(frozen=True)
class ExportProgress:
    """`step` of `steps` images are written."""

    step: int
    steps: int
    stage: str = "export"
    loss: None = None


@dataclass(frozen=True)
class Exported:
    """A finished copy; `was_there` if an earlier call had finished it."""

    folder: Path
    format: str
    images: int
    was_there: bool


class DrawStream:
    """The draws of a set in order, epoch after epoch, as uint8 images.

    Pickled, it is as small as the set's manifest; the other process reads the tensors itself.
    """

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


def export(
    data: Drawable,
    out: str | Path,
    *,
    format: Format,
    draws_per_class: int | None = None,
    shards: int | None = None,
    progress: Callable[[ExportProgress], None] | None = None,
) -> Exported:
    """Write the first draws of each class, as `data.materialize` returns them, to a new folder.

    If it is stopped or killed, a hidden folder stays beside `out`, and the same call resumes. The
    same set, seed and draws give the same bytes with the same libraries and kind of processor.

    Args:
        data: what `d3data.load` returned; its transforms are not applied.
        out: the folder to create.
        format: "imagefolder" (PNG files), "webdataset" (tar files), "parquet", or "npz".
        draws_per_class: how many of each class; by default those of an epoch.
        shards: number of files; by default at least 8, so that the workers of a loader can share.
        progress: called every 100 images with how many are written.

    Raises:
        ExportError: `out` exists and is something else, an unfinished export of something else
            has its hidden folder, or it cannot be written.
    """
    if not isinstance(data, Drawable):
        raise ExportError(f"cannot export a {type(data).__name__}: pass what d3data.load returns")
    writer = entry(WRITERS, str(format), what="format", error=ExportError)
    draws, out = DrawStream(data), place(out)
    images = draws.count(draws_per_class)
    shards = _default_shards(images, draws.image.values) if shards is None else shards
    whole(shards, "shards", least=1, most=images, error=ExportError)
    identity = {"format": format, "shards": shards, **draws.identity(images)}
    partial, was_there = ResumableExport(out), os.path.lexists(out)
    with partial.explaining():
        if was_there:
            require_same(out, identity)
            partial.tidy(identity)
        else:
            with partial.building(identity):
                plan = ExportPlan(
                    partial.whole,
                    partial.pieces,
                    classes=draws.classes,
                    shape=draws.image.shape,
                    count=images,
                    shards=shards,
                    soft=draws.soft,
                )
                _write(writer, plan, partial, draws, progress or (lambda _: None))
                writer.finish(plan)
                write_bytes(plan.folder / "README.md", _readme(writer, draws, identity).encode())
    return Exported(out, format, images, was_there)


def to_hf(data: Drawable, draws_per_class: int | None = None) -> Any:
    """The same images as a `datasets.Dataset` in the cache of `datasets`, written there once."""
    draws = DrawStream(data)
    images = draws.count(draws_per_class)
    shards = _default_shards(images, draws.image.values)
    identity = json.dumps([draws.identity(images), shards], sort_keys=True)
    return hub_datasets.to_dataset(
        draws.samples,
        shard_ranges(images, shards),
        classes=draws.classes,
        soft=draws.soft,
        identity=sha256(identity.encode()).hexdigest()[:32],
    )


def to_iterable(data: Drawable, epochs: int = 1) -> Any:
    """The draws of the first epochs as a `datasets.IterableDataset`, drawn while it is read.

    It consists of pieces of at most 256 draws, which workers and ranks share; resumed from its
    `state_dict`, it repeats at most one piece.
    """
    epochs = whole(epochs, "epochs", least=1, error=ExportError)
    draws = DrawStream(data)
    each = min(draws.epoch, max(MIN_SHARDS, -(-draws.epoch // STREAM_PIECE)))
    return hub_datasets.to_iterable_dataset(
        draws.samples,
        shard_ranges(epochs * draws.epoch, epochs * each),
        classes=draws.classes,
        soft=draws.soft,
    )


def _write(
    writer: Writer,
    plan: ExportPlan,
    partial: ResumableExport,
    draws: DrawStream,
    progress: Callable[[ExportProgress], None],
) -> None:
    """Write the shards that are missing."""

    def reported(rows: range) -> Iterator[Sample]:
        for number, sample in enumerate(draws.samples(rows.start, rows.stop), rows.start):
            if number % REPORT_EVERY == 0:
                progress(ExportProgress(number, plan.count))
            yield sample

    for shard in range(plan.shards):
        rows = plan.rows(shard)
        if not partial.is_done(shard):
            writer.write(plan, shard, reported(rows))
            partial.done(shard)
        progress(ExportProgress(rows.stop, plan.count))


def _readme(writer: Writer, draws: DrawStream, identity: Mapping[str, Any]) -> str:
    """The README.md of a copy, which `datasets` reads first; it quotes no free text."""
    front = ""
    if writer.FILES:
        files = f"- split: train\n    path: {writer.FILES}"
        front = f"---\nconfigs:\n- config_name: default\n  data_files:\n  {files}\n---\n\n"
    classes = len(draws.classes)
    return (
        f"{front}# {identity['name']} {identity['version']}, a finite copy\n\n"
        f"{identity['images']} images of {classes} classes: the first "
        f"{identity['images'] // classes} draws of each under seed {identity['seed']}, written by "
        f"d3data {identity['d3data']}.\n`{RECORD}` has the same for programs, with license and "
        f"source of the images that the set was distilled from.\n\n{writer.HOW}"
    )


def _default_shards(images: int, values: int) -> int:
    """How many shards so many images of so many values are cut into.

    >>> [_default_shards(*size) for size in ((5, 784), (1000, 784), (100_000, 3072))]
    [5, 8, 10]
    >>> _default_shards(10_000, 150_528)
    23
    """
    largest = max(1, min(SHARD_IMAGES, SHARD_BYTES // values))
    return min(images, max(MIN_SHARDS, -(-images // largest)))
