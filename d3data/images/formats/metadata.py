"""Labels of images in `metadata.csv`, `.jsonl` or `.parquet` beside them, as `datasets` has them.

A row has the path of an image below the folder of the file in its column `file_name`. Images
without a row, rows without an image and images with two rows are refused.
"""

import posixpath
from collections.abc import Sequence
from typing import Any

from d3data.errors import DataError
from d3data.images.formats.columns import candidates, column, values
from d3data.images.formats.files import Listing, unreadable
from d3data.utils.text import brief, counted, some

NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def described(listing: Listing) -> list[str]:
    """The files of metadata in a place."""
    return [file for file in listing.files if file.rpartition("/")[2].lower() in NAMES]


def read(
    listing: Listing, files: Sequence[str], wanted: tuple[str, str] | None
) -> tuple[dict[str, Any], str] | None:
    """The label of each image with a row, and what was taken; None where rows have no labels."""
    labels: dict[str, Any] = {}
    taken: set[str] = set()
    bare: list[str] = []
    for file in files:
        table = _table(listing, file)
        place = str(listing.root / file)
        names = column(table.schema, place, "file", wanted and wanted[0])
        if not wanted and not candidates(table.schema, "label", None):
            bare.append(place)
            continue
        kind = column(table.schema, place, "label", wanted and wanted[1])
        taken.add(f"{file.rpartition('/')[2]}, column {kind}")
        own = values(table.column(kind), place).tolist()
        for name, label in zip(table.column(names).to_pylist(), own, strict=True):
            path = _inside(file, name, place)
            if path in labels:
                raise DataError(f"{place}: {path} has two rows: leave one of them")
            labels[path] = label
    if bare and taken:
        raise DataError(
            f"{some(bare)}: no column of labels, which other metadata here has: add it, or move "
            "these images away"
        )
    if not taken:
        return None
    if len({type(label) for label in labels.values()}) > 1:
        raise DataError(f"{listing.place}: labels are numbers in one file and text in another")
    return labels, f"labels: {some(sorted(taken))}"


def _inside(file: str, name: object, place: str) -> str:
    folder = file.rpartition("/")[0]
    path = posixpath.normpath(posixpath.join(folder, name)) if isinstance(name, str) else ""
    if not path or path.startswith(("/", "..")) or not f"{path}/".startswith(folder):
        raise DataError(f"{place}: {brief(name)} is no path of an image below its folder")
    return path


def _table(listing: Listing, file: str) -> Any:
    import pyarrow
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    path = listing.root / file
    read = {
        "csv": pyarrow.csv.read_csv,
        "jsonl": pyarrow.json.read_json,
        "parquet": pyarrow.parquet.read_table,
    }[file.rpartition(".")[2].lower()]
    try:
        with path.open("rb") as stream:
            return read(stream)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as failure:
        raise unreadable(path, failure, f"a table ({path.suffix})", text=True) from None


def require_complete(labels: dict[str, Any], images: Sequence[str], files: Listing) -> None:
    """Refuse images without a row, and rows without a file."""
    place = str(files.root)
    if lost := sorted(labels.keys() - {*files.files}):
        raise DataError(f"{place}: rows of metadata without an image: {some(lost)}; remove them")
    if bare := [path for path in images if path not in labels]:
        raise DataError(
            f"{place}: {counted(len(bare), 'image')} without a row in the metadata beside: "
            f"{some(bare)}; add rows, or move these images away"
        )
