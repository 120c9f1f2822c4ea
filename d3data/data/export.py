"""Finite copies of a distilled set as files, for tools that cannot draw.

A copy is built in a hidden folder beside its destination, shard by shard, and renamed when it is
complete. If the export is interrupted, the same call writes the missing shards; the bytes are
those of an export that ran through.

Legend: D draws per class, K classes.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from d3data.artifact.artifact import Artifact
from d3data.data.dataset import DistilledDataset
from d3data.data.load import load
from d3data.data.sets import AnySet
from d3data.data.streams import Drawable, DrawStream, default_shards
from d3data.errors import ExportError, entry
from d3data.images.formats import WRITERS
from d3data.images.formats.base import ExportPlan, Sample, Writer
from d3data.images.formats.resumable_export import RECORD, ResumableExport, place, require_same
from d3data.utils.atomic import write_bytes
from d3data.utils.checks import whole
from d3data.utils.packages import naming_packages
from d3data.utils.progress import Progress, ReportProgress, ignore
from d3data.utils.renamed import renamed

Format = Literal["imagefolder", "npz", "parquet", "webdataset"]
REPORT_EVERY = 100  # images


@dataclass(frozen=True)
class Exported:
    """A finished copy; `was_there` if an earlier call had finished it."""

    folder: Path
    format: str
    images: int
    was_there: bool


@naming_packages()
@renamed(data="dataset")
def export(
    dataset: Drawable | AnySet,
    out: str | Path,
    *,
    format: Format,
    draws_per_class: int | None = None,
    shards: int | None = None,
    progress: ReportProgress = ignore,
) -> Exported:
    """Write the first draws of each class, as `data.materialize` returns them, to a new folder.

    If it is stopped or killed, a hidden folder stays beside `out`, and the same call resumes. The
    same set, seed and draws give the same bytes with the same libraries and kind of processor.

    Args:
        dataset: a set that was loaded, whose transforms are not applied; or an artifact, a name or
            a folder.
        out: the folder to create.
        format: "imagefolder" (PNG files), "webdataset" (tar files), "parquet", or "npz".
        draws_per_class: how many of each class; by default those of an epoch.
        shards: number of files; by default at least 8, so that the workers of a loader can share.
        progress: called with a `Progress` every 100 images.

    Raises:
        ExportError: `out` exists and is something else, an unfinished export of something else
            has its hidden folder, or it cannot be written.
    """
    data = load(dataset) if isinstance(dataset, str | Path) else dataset
    data = DistilledDataset(data) if isinstance(data, Artifact) else data
    if not isinstance(data, Drawable):
        raise ExportError(
            f"cannot export a {type(data).__name__}: pass what d3data.load returns, an artifact, "
            "a name or a folder"
        )
    writer = entry(WRITERS, str(format), what="format", error=ExportError)
    draws, out = DrawStream(data), place(out)
    images = draws.count(draws_per_class)
    shards = default_shards(images, draws.image.values) if shards is None else shards
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
                _write(writer, plan, partial, draws, progress)
                writer.finish(plan)
                write_bytes(plan.folder / "README.md", _readme(writer, draws, identity).encode())
    return Exported(out, format, images, was_there)


def _write(
    writer: Writer,
    plan: ExportPlan,
    partial: ResumableExport,
    draws: DrawStream,
    progress: ReportProgress,
) -> None:
    """Write the shards that are missing."""

    def reported(rows: range) -> Iterator[Sample]:
        for number, sample in enumerate(draws.samples(rows.start, rows.stop), rows.start):
            if number % REPORT_EVERY == 0:
                progress(Progress("export", number, plan.count))
            yield sample

    for shard in range(plan.shards):
        rows = plan.rows(shard)
        if not partial.is_done(shard):
            writer.write(plan, shard, reported(rows))
            partial.done(shard)
        progress(Progress("export", rows.stop, plan.count))


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
