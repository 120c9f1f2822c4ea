"""Finite copies of a distilled set, for tools that want files.

A copy is built in a hidden folder beside the place where it will be, shard by shard, and renamed
once it is whole. Whatever ends the writing, the same call goes on with the shards that are
missing, and gives the same bytes as one that nothing disturbed.

Legend: D draws per class, K classes.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from d3data.artifact.drawing import CHUNK
from d3data.data.dataset import DistilledDataset
from d3data.data.materialize import AT_ONCE
from d3data.errors import ExportError, entry
from d3data.images.formats import WRITERS, hub_datasets
from d3data.images.formats.base import ExportPlan, Sample, Writer, shard_ranges
from d3data.images.formats.resumable_export import RECORD, ResumableExport, place, require_same
from d3data.images.spec import require_colors, to_uint8
from d3data.utils.atomic import write_bytes
from d3data.utils.checks import whole
from d3data.utils.version import __version__

Format = Literal["imagefolder", "npz", "parquet", "webdataset"]
SHARD_IMAGES, SHARD_BYTES = 10_000, 64 << 20  # at most, the bytes as uint8 values
LEAST_SHARDS = 8  # so that each of several workers of a loader has some
OFTEN = 100  # images between two reports of progress
STREAMED = 256  # draws that are passed over at most when a stream is resumed


@dataclass(frozen=True)
class Progress:
    """So many of the images are written."""

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


class Draws:
    """The draws of a set in order, epoch after epoch, as uint8 images.

    Sent to another process it is as small as the set's manifest: tensors are read again there.
    """

    def __init__(self, data: DistilledDataset) -> None:
        require_colors(data.image, "a finite copy")
        self.artifact, self.seed, self.device = data.artifact, data.seed, str(data.device)
        self.draws_per_class, self.classes = data.draws_per_class, tuple(data.classes)
        self.image, self.epoch = data.image, len(data)
        self.soft = data.soft_labels
        self._data: DistilledDataset | None = data

    def samples(self, start: int, stop: int) -> Iterator[Sample]:
        """Draws `start` to `stop`, those of epoch 0 first, as `materialize` has them."""
        data, block = self._opened(), max(CHUNK, AT_ONCE // self.image.values)
        for first in range(start, stop, block):
            numbers = range(first, min(stop, first + block))
            latent, labels = data.latents([divmod(number, self.epoch) for number in numbers])
            pixels = to_uint8(data.decode(latent), self.image).cpu()
            classes = (latent.draw % len(self.classes)).tolist()
            soft = labels.unbind() if self.soft else [None] * len(classes)
            yield from map(Sample, pixels, classes, soft)

    def identity(self, images: int) -> dict[str, Any]:
        """What decides the first `images` draws, and whose they are."""
        page = self.artifact.manifest
        return {
            "name": page.about.name,
            "version": page.about.version,
            "licence": page.about.provenance.license,
            "source": page.about.provenance.source,
            "content_sha256": page.content_sha256,
            "seed": str(self.seed),
            "draws_per_epoch": self.epoch,
            "labels": "soft" if self.soft else "hard",
            "device": self.device,
            "images": images,
            "d3data": __version__,
        }

    def plan(self, partial: ResumableExport, images: int, shards: int) -> ExportPlan:
        """How the first `images` draws are written."""
        return ExportPlan(
            partial.whole,
            partial.pieces,
            classes=self.classes,
            shape=self.image.shape,
            count=images,
            shards=shards,
            soft=self.soft,
        )

    def _opened(self) -> DistilledDataset:
        if self._data is None:
            self._data = DistilledDataset(
                self.artifact,
                seed=self.seed,
                draws_per_class=self.draws_per_class,
                output="normalised",
                soft_labels=self.soft,
                device=self.device,
            )
        return self._data

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_data": None}


def export(
    data: DistilledDataset,
    out: str | Path,
    *,
    format: Format,
    draws_per_class: int | None = None,
    shards: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Exported:
    """Write the first draws of each class, as `data.materialize` has them, into a new folder.

    Stopped or killed, it leaves a hidden folder beside `out`, and the same call goes on. The same
    set, seed and draws give the same bytes on machines with the same libraries and processors.

    Args:
        data: its transforms are left aside; soft labels are kept where it gives them.
        out: the folder to be made.
        format: "imagefolder" (PNG files), "webdataset" (tar files), "parquet", or "npz".
        draws_per_class: how many of each class; those of an epoch unless given.
        shards: in how many pieces; at least 8, so that loaders can share them, unless given.
        progress: told how many images are written, now and then.

    Raises:
        ExportError: `out` is there already and is something else, an unfinished export of
            something else is in its way, or it cannot be written.
    """
    if not isinstance(data, DistilledDataset):
        raise ExportError(f"a {type(data).__name__} cannot be exported: give what load returns")
    writer = entry(WRITERS, str(format), what="format", error=ExportError)
    draws, out = Draws(data), place(out)
    images = _images(draws, draws_per_class)
    count = _shards(images, draws.image.values) if shards is None else shards
    whole(count, "shards", least=1, most=images, error=ExportError)
    about = {"format": format, "shards": count, **draws.identity(images)}
    partial, was_there = ResumableExport(out), os.path.lexists(out)
    with partial.explaining():
        if was_there:
            require_same(out, about)
            partial.tidy(about)
        else:
            with partial.building(about):
                plan = draws.plan(partial, images, count)
                _write(writer, plan, partial, draws, progress or (lambda _: None))
                writer.finish(plan)
                write_bytes(plan.folder / "README.md", _readme(writer, draws, about).encode())
    return Exported(out, format, images, was_there)


def to_hf(data: DistilledDataset, draws_per_class: int | None = None) -> Any:
    """The same images as a `datasets.Dataset` in the cache of `datasets`, written there once."""
    draws = Draws(data)
    images = _images(draws, draws_per_class)
    count = _shards(images, draws.image.values)
    page = json.dumps([draws.identity(images), count], sort_keys=True)
    return hub_datasets.to_dataset(
        draws.samples,
        shard_ranges(images, count),
        classes=draws.classes,
        soft=draws.soft,
        identity=sha256(page.encode()).hexdigest()[:32],
    )


def to_iterable(data: DistilledDataset, epochs: int = 1) -> Any:
    """The draws of the first epochs as a `datasets.IterableDataset`, made while it is read.

    It is cut into pieces of at most 256 draws, which workers and ranks share; resumed from its
    `state_dict`, it makes at most one piece again.
    """
    epochs = whole(epochs, "epochs", least=1, error=ExportError)
    draws = Draws(data)
    each = min(draws.epoch, max(LEAST_SHARDS, -(-draws.epoch // STREAMED)))
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
    draws: Draws,
    progress: Callable[[Progress], None],
) -> None:
    """Write the shards that are missing."""
    for shard in range(plan.shards):
        rows = plan.rows(shard)
        if not partial.is_done(shard):
            samples = draws.samples(rows.start, rows.stop)
            writer.write(plan, shard, _reported(samples, rows.start, plan.count, progress))
            partial.done(shard)
        progress(Progress(rows.stop, plan.count))


def _reported(
    samples: Iterator[Sample], start: int, steps: int, progress: Callable[[Progress], None]
) -> Iterator[Sample]:
    for number, sample in enumerate(samples, start):
        if number % OFTEN == 0:
            progress(Progress(number, steps))
        yield sample


def _readme(writer: Writer, draws: Draws, about: Mapping[str, Any]) -> str:
    """What people, and the library `datasets`, read first; of free text it has nothing."""
    front = ""
    if writer.FILES:
        files = f"- split: train\n    path: {writer.FILES}"
        front = f"---\nconfigs:\n- config_name: default\n  data_files:\n  {files}\n---\n\n"
    classes = len(draws.classes)
    return (
        f"{front}# {about['name']} {about['version']}, a finite copy\n\n"
        f"{about['images']} images of {classes} classes: the first {about['images'] // classes} "
        f"draws of each under seed {about['seed']}, written by d3data {about['d3data']}.\n"
        f"`{RECORD}` says so to programs, with licence and source of the images that the set was "
        f"distilled from.\n\n{writer.HOW}"
    )


def _images(draws: Draws, draws_per_class: int | None) -> int:
    each = draws.draws_per_class if draws_per_class is None else draws_per_class
    return whole(each, "draws_per_class", least=1, error=ExportError) * len(draws.classes)


def _shards(images: int, values: int) -> int:
    """Into how many shards so many images of so many values are cut.

    >>> _shards(5, 784), _shards(1000, 784), _shards(100_000, 3072), _shards(10_000, 150_528)
    (5, 8, 10, 23)
    """
    largest = max(1, min(SHARD_IMAGES, SHARD_BYTES // values))
    return min(images, max(LEAST_SHARDS, -(-images // largest)))
