"""Columns of Arrow tables as Hugging Face data sets lay them out: images and labels."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats.index import UNLABELED
from d3data.utils.text import some

IMAGE = ("image", "img", "images", "jpg", "png", "picture")
LABEL = ("label", "labels", "fine_label", "target", "class", "cls")


def features(classes: Sequence[str], *, soft: bool) -> dict[str, Any]:
    """The columns that are written, in the words of `datasets`: image, label, soft_label."""
    number = {"dtype": "float32", "_type": "Value"}
    label = {"feature": number, "length": len(classes), "_type": "List"}
    return {
        "image": {"_type": "Image"},
        "label": {"names": [*classes], "_type": "ClassLabel"},
        **({"soft_label": label} if soft else {}),
    }


def columns(schema: Any, place: str, wanted: tuple[str, str] | None) -> tuple[str, str]:
    """The image and label columns of a `pyarrow.Schema`: those wanted, or those usually named so.

    Raises:
        DataError: there are none; it lists the columns that there are.
    """
    image, label = ((name,) for name in wanted) if wanted else (IMAGE, LABEL)
    found = [next((n for n in names if n in schema.names), None) for names in (image, label)]
    if found[0] is None or found[1] is None:
        missing = "image" if found[0] is None else "label"
        raise DataError(
            f"{place} has no {missing} column among {some(schema.names)}; name both with "
            'columns = ["IMAGE", "LABEL"] in the recipe\'s [task]'
        )
    return found[0], found[1]


def class_names(schema: Any, label: str) -> tuple[str, ...] | None:
    """The class names that the schema's `huggingface` metadata gives a column, if any."""
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    feature = json.loads(text).get("info", {}).get("features", {}).get(label, {})
    feature = feature.get("feature", feature)  # a list of one label
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(names) if names else None


def encoded(value: Any) -> bytes:
    """The encoded bytes of one cell: bytes, or a struct of bytes and a path."""
    found = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(found, bytes):
        raise DataError("the cell has no encoded image")
    return found


def values(column: Any, place: str) -> NDArray[Any]:
    """The labels in a `pyarrow.ChunkedArray`: int64 (N,), or strings; nulls are unlabelled.

    Raises:
        DataError: an image has several labels, or labels are neither integers nor strings.
    """
    import pyarrow
    import pyarrow.compute

    kinds = pyarrow.types
    if kinds.is_list(column.type) or kinds.is_large_list(column.type):
        if pyarrow.compute.max(pyarrow.compute.list_value_length(column)).as_py() != 1:
            raise DataError(f"{place}: images have several labels each; they must have one")
        column = pyarrow.compute.list_element(column, 0)
    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kinds.is_integer(column.type) or kinds.is_boolean(column.type):
        numbers = column.cast(pyarrow.int64()).fill_null(UNLABELED)
        return np.asarray(numbers.to_numpy(), np.int64)
    if kinds.is_string(column.type) or kinds.is_large_string(column.type):
        return np.array(column.fill_null("").to_pylist(), dtype=np.str_)
    raise DataError(f"{place}: labels are {column.type}; they must be integers or strings")
