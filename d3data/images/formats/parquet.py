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
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats import tables
from d3data.images.formats.base import Plan, Sample
from d3data.images.formats.index import Collection, Portion, by_role, classified
from d3data.images.png import png
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


class Shards:
    """The images of several Parquet files, in the order of the files."""

    def __init__(self, files: Sequence[Path], root: Path, column: str) -> None:
        self.root, self.column = root, column
        groups = [(file, g, n) for file in files for g, n in enumerate(_group_sizes(file))]
        self._groups = [(file, number) for file, number, _ in groups]
        self._starts = [0, *accumulate(count for _, _, count in groups)]
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many rows all files have."""
        return self._starts[-1]

    def name(self, index: int) -> str:
        """The file and the row within it."""
        group = self._group(index)
        file, number = self._groups[group]
        return f"{file.relative_to(self.root)} row {index - self._starts[group - number]}"

    def read(self, index: int) -> bytes:
        """The encoded image in one row."""
        group = self._group(index)
        with self._lock:
            rows = self._rows(group)
        return tables.encoded(rows[index - self._starts[group]].as_py())

    def _group(self, index: int) -> int:
        return bisect_right(self._starts, index) - 1

    def _rows(self, group: int) -> Any:
        if group in self._cache:
            self._cache.move_to_end(group)
            return self._cache[group]
        import pyarrow.parquet

        file, number = self._groups[group]
        with pyarrow.parquet.ParquetFile(file) as opened:
            rows = opened.read_row_group(number, columns=[self.column]).column(0)
        self._cache[group] = rows
        while len(self._cache) > 1 and sum(r.nbytes for r in self._cache.values()) > CACHE:
            self._cache.popitem(last=False)
        return rows


def read(path: Path, columns: tuple[str, str] | None = None) -> Collection:
    """One file, or all `*.parquet` below a folder.

    Raises:
        DataError: a file is broken, or its columns or classes are not those of the others.
    """
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    schemas = [_schema(file) for file in files]
    image, label = tables.columns(schemas[0], str(path), columns)
    names = {tables.class_names(schema, label) for schema in schemas}
    strange = [
        f.name for f, s in zip(files, schemas, strict=True) if not {image, label} <= {*s.names}
    ]
    if strange or len(names) > 1:
        raise DataError(
            f"{path}: its files differ in columns or classes ({some(strange or ['classes'])}); "
            "give the folder of one data set with --data"
        )
    parts = by_role(files, root)
    values = {part: _labels(own, label) for part, own in parts.items()}
    classes, labels = classified(values, names.pop(), str(path))
    portions = {
        part: Portion(Shards(own, root, image), labels[part], _identity(own, root))
        for part, own in parts.items()
    }
    return Collection(classes, portions, str(path))


def write(plan: Plan, shard: int, samples: Iterable[Sample]) -> None:
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
                "image": [{"bytes": png(s.pixels), "path": f"{n:08d}.png"} for n, s in rows],
                "label": [s.label for _, s in rows],
            }
            if plan.soft:
                columns["soft_label"] = [s.soft.tolist() for _, s in rows if s.soft is not None]
            writer.write_table(pyarrow.table(columns, schema))


def finish(plan: Plan) -> None:
    """There is nothing else: every file has the names of the classes."""


def _written(plan: Plan) -> Any:
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


def _schema(file: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_schema(file)
    except pyarrow.ArrowInvalid as failure:
        raise DataError(f"{file} is no whole Parquet file ({failure}); fetch it again") from None


def _group_sizes(file: Path) -> list[int]:
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(file)
    return [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]


def _labels(files: Iterable[Path], column: str) -> NDArray[Any]:
    import pyarrow.parquet

    found = []
    for file in files:
        with pyarrow.parquet.ParquetFile(file) as opened:
            found.append(tables.values(opened.read(columns=[column]).column(0), str(file)))
    return np.concatenate(found)


def _identity(files: Iterable[Path], root: Path) -> str:
    return digest(f"{file.relative_to(root).as_posix()} {file.stat().st_size}" for file in files)
