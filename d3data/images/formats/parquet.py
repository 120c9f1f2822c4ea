"""Parquet files as Hugging Face data sets lay them out: encoded images and labels in rows.

Files are one split's by their name or folder (`train-00000-of-00002.parquet`, `valid/0.parquet`);
files that speak of no split are train. Images are read by row group, and the row groups that were
used last stay in memory, so sets larger than memory are read as well. One that is needed again
after it was dropped is kept in a temporary file, so that none is decompressed more than twice.
"""

import contextlib
import json
import shutil
import tempfile
import threading
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from d3data.errors import DataError
from d3data.images.formats.base import ExportPlan, Sample
from d3data.images.formats.columns import (
    class_names,
    columns,
    features_of,
    split_column,
    taken,
    texts,
    values,
)
from d3data.images.formats.files import Listing, unreadable, walk
from d3data.images.formats.index import ImageIndex, Images, index_images, some_rows
from d3data.images.formats.labels import joined
from d3data.images.formats.layout import Splits, are_met, by_role, by_rows, several
from d3data.images.png import encode_png
from d3data.utils.atomic import replacing
from d3data.utils.hashing import digest
from d3data.utils.text import brief, some

FILES = "train-*.parquet"
HOW = """\
`datasets.load_dataset("./")` or `load_dataset("parquet", data_files="train-*.parquet")` reads
columns `image` (Image), `label` (ClassLabel, with the names of the classes) and, where the set has
soft labels, `soft_label`.
"""
SUFFIX = ".parquet"
CACHE = 1 << 28  # bytes of encoded row groups that stay in memory, for each split
ROOM = 1 << 32  # bytes that are left free where temporary files are
GROUP = 256  # images in one row group that is written


class RowGroups:
    """Encoded images in the row groups of several Parquet files, in the order of the files."""

    def __init__(self, files: Sequence[Path], root: Path, column: str) -> None:
        self.column = column
        groups = [(file, part) for file in files for part in _fragment(file).split_by_row_group()]
        self._groups = [group for _, group in groups]
        rows = [group.row_groups[0].num_rows for group in self._groups]
        self._starts = [0, *accumulate(rows)]
        self._files = [str(file.relative_to(root)) for file, _ in groups]
        self._firsts: dict[str, int] = {}  # the first row of each file
        for file, start in zip(self._files, self._starts, strict=False):
            self._firsts.setdefault(file, start)
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._bytes = 0  # of what is in the cache
        self._mapped: dict[int, Any] = {}
        self._dropped: set[int] = set()
        self._lock = threading.Lock()

    def images(self) -> Images:
        return Images(self._starts[-1], self._name, self._read)

    def _name(self, index: int) -> str:
        file = self._files[self._find(index)[0]]
        return f"{file} row {index - self._firsts[file]}"

    def _read(self, index: int) -> bytes:
        group, row = self._find(index)
        with self._lock:
            rows = self._rows(group)
        return encoded(rows[row].as_py())

    def _find(self, index: int) -> tuple[int, int]:
        group = bisect_right(self._starts, index) - 1
        return group, index - self._starts[group]

    def _rows(self, group: int) -> Any:
        if group in self._mapped:
            return self._mapped[group]
        if group in self._cache:
            self._cache.move_to_end(group)
            return self._cache[group]
        rows = self._groups[group].to_table(columns=[self.column]).column(0)
        if group in self._dropped:
            with contextlib.suppress(OSError):  # no room for it: it is read again
                self._mapped[group] = mapped(rows)
                return self._mapped[group]
        self._cache[group] = rows
        self._bytes += rows.nbytes
        while len(self._cache) > 1 and self._bytes > CACHE:
            oldest, dropped = self._cache.popitem(last=False)
            self._bytes -= dropped.nbytes
            self._dropped.add(oldest)
        return rows


def read(
    place: Path | Listing, wanted: tuple[str, str] | None = None, splits: Splits | None = None
) -> ImageIndex:
    """One file, or all `*.parquet` below a folder."""
    listing = walk(place)
    root, whole = listing.root, listing.place
    found = listing.ending(SUFFIX)
    divided = split_column(_schema(root / found[0]), wanted or ())
    chosen = splits if splits and (not divided or are_met(splits, found)) else None
    parts = by_role(found, whole, chosen)
    files = [file for own in parts.values() for file in own]
    schemas = [_schema(root / file) for file in files]
    image, label = columns(schemas[0], whole, wanted)
    names = {class_names(schema, label) for schema in schemas}
    divided = None if chosen or divided in (image, label) else divided
    used = {image, label} | ({divided} if divided else set())
    lacking = [f for f, s in zip(files, schemas, strict=True) if used - {*s.names}]
    if lacking or len(names) > 1:
        raise DataError(
            f"{whole}: its files differ in columns or classes ({some(lacking or ['classes'])}); "
            "give the folder of one data set alone"
        )
    stored = {
        part: (
            RowGroups([root / file for file in own], root, image).images(),
            joined([values(_column(root / file, label), str(root / file)) for file in own], whole),
            digest(f"{file} {(root / file).stat().st_size}" for file in own),
        )
        for part, own in parts.items()
    }
    rows = None
    if divided:
        feature = features_of(schemas[0]).get(divided)
        said = {
            part: [t for file in own for t in texts(_column(root / file, divided), feature)]
            for part, own in parts.items()
        }
        if rows := by_rows(said, divided, whole, splits):
            stored = {part: some_rows(stored["train"], own, part) for part, own in rows.items()}
    notes = [
        several(parts.get("train", ())),
        taken(image, label, schemas[0], divided if rows else None),
        listing.rest(files),
    ]
    return index_images(stored, names.pop(), whole, notes=notes)


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
    import pyarrow

    kinds = {
        "image": pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]),
        "label": pyarrow.int64(),
    }
    if plan.soft:
        kinds["soft_label"] = pyarrow.list_(pyarrow.float32(), len(plan.classes))
    info = {"features": features(plan.classes, soft=plan.soft)}
    about = {"huggingface": json.dumps({"info": info})}
    return pyarrow.schema(list(kinds.items()), metadata=about)


def _fragment(file: Path) -> Any:
    """One file as a `pyarrow.dataset.ParquetFileFragment`."""
    import pyarrow
    import pyarrow.dataset

    try:
        return next(pyarrow.dataset.dataset(file, format="parquet").get_fragments())
    except (pyarrow.ArrowException, OSError, StopIteration) as failure:
        raise unreadable(file, failure, "a Parquet file") from None


def _schema(file: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(file)
    except (pyarrow.ArrowException, OSError) as failure:
        raise unreadable(file, failure, "a Parquet file") from None
    if twice := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise DataError(f"{file} has two columns {twice[0]!r}: rename one of them")
    return schema


def _column(file: Path, name: str) -> Any:
    import pyarrow

    try:
        return _fragment(file).to_table(columns=[name]).column(0)
    except (pyarrow.ArrowException, OSError) as failure:
        raise unreadable(file, failure, "a Parquet file") from None


def features(classes: Sequence[str], *, soft: bool) -> dict[str, Any]:
    """The columns that are written, in the words of `datasets`: image, label, soft_label."""
    number = {"dtype": "float32", "_type": "Value"}
    label = {"feature": number, "length": len(classes), "_type": "List"}
    return {
        "image": {"_type": "Image"},
        "label": {"names": [*classes], "_type": "ClassLabel"},
        **({"soft_label": label} if soft else {}),
    }


def mapped(rows: Any) -> Any:
    """The same Arrow column, uncompressed in a file without a name that is mapped into memory.

    OSError where it would leave less than `ROOM` bytes of the disk.
    """
    import pyarrow

    if shutil.disk_usage(tempfile.gettempdir()).free < ROOM + rows.nbytes:
        raise OSError("too little room for temporary files")
    table = pyarrow.table({"rows": rows})
    with tempfile.NamedTemporaryFile(prefix="d3data-") as file:
        with pyarrow.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
        file.flush()
        with pyarrow.memory_map(file.name) as source:
            return pyarrow.ipc.open_stream(source).read_all().column(0)


def encoded(value: Any) -> bytes:
    """The encoded bytes of one cell: bytes, or a struct of bytes and a path."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        path = value.get("path") if isinstance(value, dict) else None
        only = f", only the path {brief(path)}: store the files in it" if path else ""
        raise DataError(f"the cell has no encoded image{only}")
    return content
