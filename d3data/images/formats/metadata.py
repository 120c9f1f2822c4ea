"""Labels of images in `metadata.csv`, `.jsonl` or `.parquet` beside them, as `datasets` has them.

A row has the path of an image below the folder of the file in its column `file_name`. Images
without a row, rows without an image and images with two rows are refused.
"""

import io
import posixpath
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

from d3data.errors import DataError
from d3data.images.formats.columns import candidates, column, split_column, texts, values
from d3data.images.formats.files import Listing, unreadable
from d3data.utils.text import brief, counted, some

NULLS = ["", "#N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a",
         "nan", "null"]  # fmt: skip
NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


class Rows(NamedTuple):
    """What the metadata of a place say: label and split (or "") of each image, and the columns."""

    labels: dict[str, Any]
    splits: dict[str, str]
    columns: str
    split_column: str | None


def described(listing: Listing) -> list[str]:
    """The files of metadata in a place."""
    return [file for file in listing.files if file.rpartition("/")[2].lower() in NAMES]


def read(listing: Listing, files: Sequence[str], wanted: tuple[str, str] | None) -> Rows | None:
    """What rows say of their images; None where they have no labels."""
    labels: dict[str, Any] = {}
    splits: dict[str, str] = {}
    taken: set[str] = set()
    divided: str | None = None
    bare: list[str] = []
    for file in files:
        table = _table(listing, file)
        place = str(listing.root / file)
        names = column(table.schema, place, "file", wanted and wanted[0])
        if not wanted and not candidates(table.schema, "label", None):
            bare.append(place)
            continue
        kind = column(table.schema, place, "label", wanted and wanted[1])
        own = values(table.column(kind), place).tolist()
        parts = [""] * len(own)
        if split := split_column(table.schema, (names, kind)):
            parts, divided = texts(table.column(split)), split
        rest = [name for name in table.schema.names if name not in (names, kind, split)]
        more = f"; not {some(rest)}" if rest else ""
        taken.add(f"{file.rpartition('/')[2]}, column {kind}{more}")
        for name, label, part in zip(table.column(names).to_pylist(), own, parts, strict=True):
            path = _inside(file, name, place)
            if path in labels:
                raise DataError(f"{place}: {path} has two rows: leave one of them")
            labels[path], splits[path] = label, part
    if bare and taken:
        raise DataError(
            f"{some(bare)}: no column of labels, which other metadata here has: add it, or move "
            "these images away"
        )
    if not taken:
        return None
    if len({type(label) for label in labels.values()}) > 1:
        raise DataError(f"{listing.place}: labels are numbers in one file and text in another")
    return Rows(labels, splits, f"labels: {some(sorted(taken))}", divided)


def _inside(file: str, name: object, place: str) -> str:
    folder = file.rpartition("/")[0]
    path = posixpath.normpath(posixpath.join(folder, name)) if isinstance(name, str) else ""
    if "\\" in path:
        raise DataError(f"{place}: {brief(name)} has a backslash: write / between folders")
    if not path or path.startswith(("/", "..")) or not f"{path}/".startswith(folder):
        raise DataError(
            f"{place}: {brief(name)} is no path of an image below its folder: write it as in "
            "cat/0.png"
        )
    return path


def _table(listing: Listing, file: str) -> Any:
    import pyarrow
    import pyarrow.json
    import pyarrow.parquet

    path = listing.root / file
    read = {
        "csv": _read_csv,
        "jsonl": pyarrow.json.read_json,
        "parquet": pyarrow.parquet.read_table,
    }[file.rpartition(".")[2].lower()]
    try:
        with path.open("rb") as stream:
            return read(stream)
    except UnicodeDecodeError:
        raise DataError(f"{path} is no UTF-8 text: save it as UTF-8 with commas") from None
    except (pyarrow.ArrowException, OSError) as failure:
        raise unreadable(path, failure, f"a table ({path.suffix})", text=True) from None


def _read_csv(stream: BinaryIO) -> Any:
    """A table with commas, or with what spreadsheets write in their place; no label is a date.

    What `datasets`, which reads by pandas, takes for nothing is nothing.
    """
    import pyarrow
    import pyarrow.csv

    content = stream.read()
    header = content.decode().partition("\n")[0]
    delimiter = next((sign for sign in ",;\t" if sign in header), ",")
    options = pyarrow.csv.ParseOptions(delimiter=delimiter)
    nulls = pyarrow.csv.ConvertOptions(null_values=NULLS, strings_can_be_null=True)
    table = pyarrow.csv.read_csv(io.BytesIO(content), parse_options=options, convert_options=nulls)
    table = table.rename_columns([name.strip() for name in table.schema.names])
    dates = [field.name for field in table.schema if pyarrow.types.is_temporal(field.type)]
    for name in dates:
        texts = table.column(name).cast(pyarrow.string())
        table = table.set_column(table.schema.get_field_index(name), name, texts)
    return table


def require_complete(labels: dict[str, Any], images: Sequence[str], files: Listing) -> None:
    """Refuse images without a row, and rows without a file."""
    place = str(files.root)
    if lost := sorted(labels.keys() - {*files.files}):
        raise DataError(
            f"{place}: rows of metadata without an image: {some(lost)}; correct or remove them"
        )
    if bare := [path for path in images if path not in labels]:
        raise DataError(
            f"{place}: {counted(len(bare), 'image')} without a row in the metadata beside: "
            f"{some(bare)}; add rows, or move these images away"
        )
