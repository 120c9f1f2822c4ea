"""Parquet files as Hugging Face data sets lay them out: encoded images and labels in rows.

Files are one split's by their name or folder (`train-00000-of-00002.parquet`, `valid/0.parquet`);
files that speak of no split are train. Images are read by row group, and the row groups that were
used last stay in memory, so sets larger than memory are read as well.
"""

import json
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats import tables
from d3data.images.formats.base import ExportPlan, Sample
from d3data.images.formats.index import ImageIndex, Images, IndexedSplit, by_role, class_labels
from d3data.images.png import encode_png
from d3data.utils.atomic import replacing
from d3data.utils.hashing import digest
from d3data.utils.text import some

FILES = "train-*.parquet"
HOW = """\
`datasets.load_dataset("./")` or `load_dataset("parquet", data_files="train-*.parquet")` reads
columns `image` (Image), `label` (ClassLabel, with the names of the classes) and, where the set has
soft labels, `soft_label`.
"""
CACHE = 1 << 28  # bytes of encoded row groups that stay in memory, for each split
GROUP = 256  # images in one row group that is written


class RowGroups:
    """Encoded images in the row groups of several Parquet files, in the order of the files."""

    def __init__(self, files: Sequence[Path], root: Path, column: str) -> None:
        self.column = column
        self._groups: list[Any] = []
        self._names: list[tuple[str, int]] = []  # the file of each group, and its first row there
        self._starts = [0]
        for file in files:
            first = self._starts[-1]
            for group in _fragment(file).split_by_row_group():
                self._groups.append(group)
                self._names.append((str(file.relative_to(root)), self._starts[-1] - first))
                self._starts.append(self._starts[-1] + group.row_groups[0].num_rows)
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def images(self) -> Images:
        """All rows of all files."""
        return Images(self._starts[-1], self._name, self._read)

    def _name(self, index: int) -> str:
        group, row = self._find(index)
        file, first = self._names[group]
        return f"{file} row {first + row}"

    def _read(self, index: int) -> bytes:
        group, row = self._find(index)
        with self._lock:
            rows = self._rows(group)
        return tables.encoded(rows[row].as_py())

    def _find(self, index: int) -> tuple[int, int]:
        group = bisect_right(self._starts, index) - 1
        return group, index - self._starts[group]

    def _rows(self, group: int) -> Any:
        if group not in self._cache:
            rows = self._groups[group].to_table(columns=[self.column]).column(0)
            self._cache[group] = rows
        self._cache.move_to_end(group)
        while len(self._cache) > 1 and sum(r.nbytes for r in self._cache.values()) > CACHE:
            self._cache.popitem(last=False)
        return self._cache[group]


def read(path: Path, columns: tuple[str, str] | None = None) -> ImageIndex:
    """One file, or all `*.parquet` below a folder.

    Raises:
        DataError: a file is broken, or its columns or classes are not those of the others.
    """
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    schemas = [_fragment(file).physical_schema for file in files]
    image, label = tables.columns(schemas[0], str(path), columns)
    names = {tables.class_names(schema, label) for schema in schemas}
    lacking = [f.name for f, s in zip(files, schemas, strict=True) if {image, label} - {*s.names}]
    if lacking or len(names) > 1:
        raise DataError(
            f"{path}: its files differ in columns or classes ({some(lacking or ['classes'])}); "
            "give the folder of one data set with --data"
        )
    parts = by_role(files, root)
    values = {part: _labels(own, label) for part, own in parts.items()}
    classes, labels = class_labels(values, names.pop(), str(path))
    splits = {
        part: IndexedSplit(
            RowGroups(own, root, image).images(), labels[part], _identity(own, root)
        )
        for part, own in parts.items()
    }
    return ImageIndex(classes, splits, str(path))


def write(plan: ExportPlan, shard: int, samples: Iterable[Sample]) -> None:
    """Write images as one Parquet file of PNGs, `train-00000-of-00012.parquet`."""
    import pyarrow
    import pyarrow.parquet

    schema = _written(plan)
    path = plan.folder / f"{plan.split}-{shard:05d}-of-{plan.shards:05d}.parquet"
    numbered = zip(plan.rows(shard), samples, strict=True)
    with (
        replacing(path) as temporary,
        pyarrow.parquet.ParquetWriter(temporary, schema, use_dictionary=["label"]) as writer,
    ):
        while rows := list(islice(numbered, GROUP)):
            columns = {
                "image": [
                    {"bytes": encode_png(s.pixels), "path": f"{n:08d}.png"} for n, s in rows
                ],
                "label": [s.label for _, s in rows],
            }
            if plan.soft:
                columns["soft_label"] = [s.soft.tolist() for _, s in rows if s.soft is not None]
            writer.write_table(pyarrow.table(columns, schema))


def finish(plan: ExportPlan) -> None:
    """There is nothing else: every file has the names of the classes."""


def _written(plan: ExportPlan) -> Any:
    """The schema of what is written, which tells `datasets` about images and classes."""
    import pyarrow

    kinds = {
        "image": pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]),
        "label": pyarrow.int64(),
    }
    if plan.soft:
        kinds["soft_label"] = pyarrow.list_(pyarrow.float32(), len(plan.classes))
    features = tables.features(plan.classes, soft=plan.soft)
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    return pyarrow.schema(list(kinds.items()), metadata=about)


def _fragment(file: Path) -> Any:
    """One file as a `pyarrow.dataset.ParquetFileFragment`."""
    import pyarrow
    import pyarrow.dataset

    try:
        return next(pyarrow.dataset.dataset(file, format="parquet").get_fragments())
    except (pyarrow.ArrowInvalid, OSError) as failure:
        raise DataError(
            f"{file} is truncated or not a Parquet file ({failure}); download it again"
        ) from None


def _labels(files: Iterable[Path], column: str) -> NDArray[Any]:
    columns = ((_fragment(file).to_table(columns=[column]).column(0), file) for file in files)
    return np.concatenate([tables.values(values, str(file)) for values, file in columns])


def _identity(files: Iterable[Path], root: Path) -> str:
    return digest(f"{file.relative_to(root).as_posix()} {file.stat().st_size}" for file in files)
