"""Labels as formats store them -> classes: one rule for all formats.

A label is an integer, a whole number of any type, a truth value, or text; one for each image, as
(N,), (N, 1) or one-hot (N, K). Negative numbers, NaN, nulls and empty text are unlabelled.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.utils.text import brief, some

UNLABELED = -1
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.0+)?")
_TRUTHS = {"False": 0, "True": 1}
_ANY_NUMBER = re.compile(r"([+-]?)0*(\d+)(\.0*)?", re.ASCII)


def plain_labels(values: Any, where: str) -> NDArray[Any]:
    """Labels as int64 (N,) or text (N,); DataError where they are neither."""
    labels = np.asarray(values)
    if labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else _class_of_one_hot(labels, where)
    if labels.ndim != 1:
        raise DataError(f"{where}: labels have shape {labels.shape}; they must be (N,) or (N, 1)")
    kind = labels.dtype.kind
    if kind in "SUT":
        return _text(labels, where)
    if kind == "f":
        return _whole(labels, where)
    if kind not in "biu" or (kind == "u" and labels.size and labels.max() > np.iinfo(int).max):
        raise DataError(
            f"{where}: labels are {labels.dtype}; they must be integers or text, one an image"
        )
    return labels.astype(np.str_ if kind == "b" else np.int64)


def joined(pieces: Sequence[NDArray[Any]], where: str) -> NDArray[Any]:
    """The labels of several files, one after the other."""
    full = [piece for piece in pieces if len(piece)]
    if len({piece.dtype.kind for piece in full}) > 1:
        raise DataError(f"{where}: labels are numbers in one place and text in another")
    whole: NDArray[Any] = np.concatenate(full or pieces)
    return whole


def _class_of_one_hot(labels: NDArray[Any], where: str) -> NDArray[Any]:
    numeric = labels.dtype.kind in "biuf" and labels.size > 0
    if not numeric or not (np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()):
        raise DataError(
            f"{where}: images have several labels each ({labels.shape[1]}); they must have one, "
            "as a class number or one-hot"
        )
    numbers: NDArray[Any] = labels.argmax(1)
    return numbers


def _text(labels: NDArray[Any], where: str) -> NDArray[np.str_]:
    try:
        texts = np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels
        for text in np.unique(texts).tolist():
            text.encode()
    except UnicodeError:
        raise DataError(f"{where}: a label is no UTF-8 text: store labels as UTF-8") from None
    return np.char.strip(texts.astype(np.str_)) if len(texts) else texts.astype(np.str_)


def _whole(labels: NDArray[Any], where: str) -> NDArray[np.int64]:
    known = np.where(np.isnan(labels), UNLABELED, labels)
    if wrong := known[(known != np.rint(known)) | (np.abs(known) > 2**53)].tolist():
        raise DataError(
            f"{where}: labels are {labels.dtype} such as {wrong[0]:.4g}, which is no class; "
            "store class numbers"
        )
    return known.astype(np.int64)


def class_labels(
    values: Mapping[Any, NDArray[Any]], names: Sequence[str] | None, place: str
) -> tuple[tuple[str, ...], dict[Any, NDArray[np.int64]]]:
    """Class names, and each split's labels as indices of them.

    Integers index `names`; without names, the distinct integers or texts of all splits are the
    classes, in ascending order. Text that is a whole number counts as one, unless it is a name;
    so do truth values, where two other names are given.
    """
    merged = joined([*values.values()], place)
    numeric = bool(np.issubdtype(merged.dtype, np.integer))
    known = np.unique(merged[merged >= 0] if numeric else merged[merged != ""])
    if not numeric:
        texts = known.tolist()
        if len(names or ()) == 2 and {*texts} <= _TRUTHS.keys() - {*(names or ())}:
            return class_labels({k: _truths(own) for k, own in values.items()}, names, place)
        if not set(texts) <= set(names or ()) and all(map(_NUMBER.fullmatch, texts)):
            numbers = {part: _numbers(own) for part, own in values.items()}
            return class_labels(numbers, names, place)
    if names is not None and numeric:
        if len(known) and known[-1] >= len(names):
            raise DataError(
                f"{place}: label {known[-1]}, but only {len(names)} class names, counted from 0: "
                "correct one of them"
            )
        return _told_apart(names), {
            part: np.maximum(own.astype(np.int64), UNLABELED) for part, own in values.items()
        }
    classes = [str(value) for value in known] if names is None else list(names)
    if unnamed := sorted({str(value) for value in known} - set(classes)):
        raise DataError(f"{place}: labels that are not in its list of classes: {some(unnamed)}")
    if len(set(classes)) < len(classes):
        twice = [name for name, count in Counter(classes).items() if count > 1]
        raise DataError(
            f"{place}: its list of classes has {brief(twice[0])} twice: name each once"
        )
    _require_one_spelling(classes, place)
    index = {name: number for number, name in enumerate(classes)}
    return tuple(classes), {
        part: np.array([index.get(str(value), UNLABELED) for value in own.tolist()], np.int64)
        for part, own in values.items()
    }


def _require_one_spelling(classes: Sequence[str], place: str) -> None:
    """Refuse classes that are one number, or one text, written in two ways."""
    first: dict[str, str] = {}
    for name in classes:
        number = _ANY_NUMBER.fullmatch(name)
        text = f"{number[1].strip('+')}{number[2]}" if number else name
        same = unicodedata.normalize("NFC", text)
        other = first.setdefault(same, name)
        if other != name:
            raise DataError(
                f"{place}: the classes {brief(other)} and {brief(name)} are one, written in two "
                "ways: write it in one"
            )


def _truths(texts: NDArray[Any]) -> NDArray[np.int64]:
    return np.array([_TRUTHS.get(text, UNLABELED) for text in texts.tolist()], np.int64)


def _numbers(texts: NDArray[Any]) -> NDArray[np.int64]:
    plain = [text.partition(".")[0] for text in texts.tolist()]
    return np.array([int(text) if text else UNLABELED for text in plain], np.int64)


def _told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Names with the class number behind those that come twice, as ImageNet's cranes do."""
    counts = Counter(names)
    return tuple(
        f"{name} ({number})" if counts[name] > 1 else name for number, name in enumerate(names)
    )
