"""Which columns of a table hold the images and the labels, and what these are."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats.labels import UNLABELED, plain_labels
from d3data.images.formats.layout import roles
from d3data.utils.text import some

USUAL = {
    "image": ("image", "img", "images", "jpg", "jpeg", "png", "picture"),
    "label": ("label", "labels", "fine_label", "target", "class", "cls"),
    "file": ("file_name",),
    "split": ("split", "subset", "partition", "usage", "set", "phase"),
}
KINDS = {"image": "Image", "label": "ClassLabel"}  # what `datasets` calls columns of these
CHOOSE = (
    'name both, `--columns IMAGE LABEL`, or columns = ["IMAGE", "LABEL"] in the recipe\'s [task]'
)


def columns(schema: Any, place: str, wanted: tuple[str, str] | None) -> tuple[str, str]:
    """The image and label columns of a `pyarrow.Schema`: those wanted, or those named as usual."""
    image, label = wanted or (None, None)
    found = column(schema, place, "image", image), column(schema, place, "label", label)
    _require_encoded(schema.field(found[0]).type, found[0], place)
    return found


def _require_encoded(kind: Any, name: str, place: str) -> None:
    import pyarrow

    binary = pyarrow.types.is_binary, pyarrow.types.is_large_binary, pyarrow.types.is_binary_view
    struct = pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    struct = struct or pyarrow.types.is_null(kind)  # an empty table may say no more
    if not struct and not any(is_kind(kind) for is_kind in binary):
        raise DataError(
            f"{place}: column {name} holds {kind}, and no encoded images: store the content of "
            "the files in it, or put them into folders of classes"
        )


def column(schema: Any, place: str, what: str, wanted: str | None) -> str:
    """The column of `candidates`, if there is just one."""
    try:
        found = candidates(schema, what, wanted)
    except UnicodeDecodeError:
        raise DataError(f"{place}: the name of a column is no UTF-8 text: rename it") from None
    if len(found) > len({*found}):
        raise DataError(f"{place} has two columns {found[0]}: rename one of them")
    if len(found) == 1:
        return found[0]
    fault = f"the {what} columns {some(found)}" if found else f"no {what} column among"
    there = "" if found else f" {some(schema.names) or 'none'}"
    there += " (the first line must name the columns)" if what == "file" else ""
    raise DataError(f"{place} has {fault}{there}; {CHOOSE}")


def candidates(schema: Any, what: str, wanted: str | None) -> list[str]:
    """The columns that are called as is wanted, or as usual, or are what `datasets` calls so."""
    there: list[str] = schema.names
    if wanted is not None:
        return [name for name in there if name == wanted]
    found = [name for name in there if name in USUAL[what]]
    found = found or [name for name in there if name.lower() in USUAL[what]]
    if not found and what in KINDS:
        kinds = {name: _kind(feature) for name, feature in features_of(schema).items()}
        found = [name for name in there if kinds.get(name) == KINDS[what]]
    return found


def split_column(schema: Any, used: Sequence[str]) -> str | None:
    """The column that may say which split a row is of, beside those that are `used`."""
    found = [name for name in candidates(schema, "split", None) if name not in used]
    found = found or [
        name for name in schema.names if name not in used and _is_asked(schema, name)
    ]
    return found[0] if found else None


def _is_asked(schema: Any, name: str) -> bool:
    """Whether a column asks, as `is_test` does, if a row is of a split."""
    import pyarrow

    kind = schema.field(name).type
    return bool(roles(name)) and (pyarrow.types.is_boolean(kind) or pyarrow.types.is_integer(kind))


def texts(column: Any, feature: object = None) -> list[str]:
    """The values of a `pyarrow.ChunkedArray` as text: of a ClassLabel the names; of nulls ""."""
    names = feature.get("names") if isinstance(feature, dict) else None
    if isinstance(names, list):
        known = dict(enumerate(names))
        return [str(known.get(value, "")) for value in column.to_pylist()]
    return ["" if value is None else str(value) for value in column.to_pylist()]


def taken(image: str, label: str, schema: Any, split: str | None = None) -> str:
    """A note of what was taken, where there is more in the table; a column may tell the splits."""
    rest = [name for name in schema.names if name not in (image, label, split)]
    note = f"columns: {image}, {label}" if rest or split else ""
    return f"{note}{f', splits: {split}' if split else ''}{f'; not {some(rest)}' if rest else ''}"


def class_names(schema: Any, label: str) -> tuple[str, ...] | None:
    """The class names that the schema's `huggingface` metadata gives a column, if any."""
    feature = features_of(schema).get(label)
    inner = feature.get("feature", feature) if isinstance(feature, dict) else None  # of a list
    names = inner.get("names") if isinstance(inner, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names) or None


def features_of(schema: Any) -> dict[str, Any]:
    """The columns in the words of `datasets`, by their names, where the schema has them."""
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        found = json.loads(text)["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _kind(feature: object) -> object:
    return feature.get("_type") if isinstance(feature, dict) else None


def values(column: Any, place: str) -> NDArray[Any]:
    """The labels in a `pyarrow.ChunkedArray`: int64 (N,), or text; nulls are unlabelled."""
    import pyarrow

    kinds = pyarrow.types
    try:
        if kinds.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        kind = column.type
        if kinds.is_null(kind):
            return np.full(len(column), UNLABELED)
        if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
            return _of_lists(column.to_pylist(), place)
        if kinds.is_boolean(kind):
            truths = ["" if truth is None else str(truth) for truth in column.to_pylist()]
            return np.array(truths, np.str_)
        if kinds.is_integer(kind):
            numbers = column.cast(pyarrow.int64()).fill_null(UNLABELED)
            return np.asarray(numbers.to_numpy(), np.int64)
        if kinds.is_floating(kind):
            return plain_labels(np.asarray(column.cast(pyarrow.float64()).to_numpy()), place)
        if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind):
            return plain_labels(np.array(column.fill_null("").to_pylist(), np.str_), place)
        if kinds.is_binary(kind) or kinds.is_large_binary(kind):
            return plain_labels(np.array(column.fill_null(b"").to_pylist(), np.bytes_), place)
    except (pyarrow.ArrowException, UnicodeDecodeError) as failure:
        raise DataError(f"{place}: the labels cannot be read ({failure})") from None
    raise DataError(f"{place}: labels are {kind}; they must be integers or text")


def _of_lists(rows: list[list[Any] | None], place: str) -> NDArray[Any]:
    """Labels of lists of one or none, or of one-hot lists."""
    import pyarrow

    lengths = {len(row) for row in rows if row}
    if lengths <= {1}:
        single = pyarrow.chunked_array([pyarrow.array([row[0] if row else None for row in rows])])
        return values(single, place)
    if len(lengths) > 1 or not all(rows):
        raise DataError(f"{place}: images have several labels each; they must have one")
    return plain_labels(np.array(rows), place)
