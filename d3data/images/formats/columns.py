"""Which columns of a table hold the images and the labels, and what these are."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats.labels import UNLABELED, plain_labels
from d3data.utils.text import some

USUAL = {
    "image": ("image", "img", "images", "jpg", "jpeg", "png", "picture"),
    "label": ("label", "labels", "fine_label", "target", "class", "cls"),
    "file": ("file_name",),
}
KINDS = {"image": "Image", "label": "ClassLabel"}  # what `datasets` calls columns of these
CHOOSE = (
    'name both, `d3data init --columns IMAGE LABEL`, or columns = ["IMAGE", "LABEL"] in the '
    "recipe's [task]"
)


def columns(schema: Any, place: str, wanted: tuple[str, str] | None) -> tuple[str, str]:
    """The image and label columns of a `pyarrow.Schema`: those wanted, or those named as usual."""
    image, label = wanted or (None, None)
    return column(schema, place, "image", image), column(schema, place, "label", label)


def column(schema: Any, place: str, what: str, wanted: str | None) -> str:
    """The column of `candidates`, if there is just one."""
    try:
        found = candidates(schema, what, wanted)
    except UnicodeDecodeError:
        raise DataError(f"{place}: the name of a column is no UTF-8 text: rename it") from None
    if len(found) == 1:
        return found[0]
    fault = f"the {what} columns {some(found)}" if found else f"no {what} column among"
    there = "" if found else f" {some(schema.names) or 'none'}"
    raise DataError(f"{place} has {fault}{there}; {CHOOSE}")


def candidates(schema: Any, what: str, wanted: str | None) -> list[str]:
    """The columns that are called as is wanted, or as usual, or are what `datasets` calls so."""
    there: list[str] = schema.names
    if wanted is not None:
        return [name for name in there if name == wanted]
    found = [name for name in there if name in USUAL[what]]
    found = found or [name for name in there if name.lower() in USUAL[what]]
    if not found and what in KINDS:
        kinds = {name: _kind(feature) for name, feature in _features(schema).items()}
        found = [name for name in there if kinds.get(name) == KINDS[what]]
    return found


def taken(image: str, label: str, schema: Any) -> str:
    """A note of what was taken, where there is more in the table."""
    rest = [name for name in schema.names if name not in (image, label)]
    return f"columns: {image}, {label}; not {some(rest)}" if rest else ""


def class_names(schema: Any, label: str) -> tuple[str, ...] | None:
    """The class names that the schema's `huggingface` metadata gives a column, if any."""
    feature = _features(schema).get(label)
    inner = feature.get("feature", feature) if isinstance(feature, dict) else None  # of a list
    names = inner.get("names") if isinstance(inner, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names) or None


def _features(schema: Any) -> dict[str, Any]:
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(text)["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


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
        if kinds.is_integer(kind) or kinds.is_boolean(kind):
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
