"""The rows of train, validation and test among the images of a place, all checked."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats.index import (
    UNLABELED,
    ImageIndex,
    Images,
    Role,
    decode_error,
    stratified_split,
)
from d3data.utils.hashing import digest
from d3data.utils.text import some

SEED = 1  # of the images that are held out


class SplitRows(NamedTuple):
    """The images of one split: which rows (M,) of a place, and their labels (M,)."""

    images: Images
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]

    def shapes(self, wanted: int) -> list[tuple[int, int, str]]:
        """Width, height and mode of about `wanted` images spread over all, from their headers."""
        rows = self.rows[spread(len(self.rows), wanted)]
        return [_shape(self.images, row) for row in rows.tolist()]


def partition(index: ImageIndex, *, test: Role, validation: float) -> dict[Role, SplitRows]:
    """The rows of each split, all with labels, and of every class some to train on.

    `test` is the split to evaluate on; where there is no test split, it is validation. The
    fraction `validation` of train is held out where no validation split is left.
    """
    indexed = dict(index.splits)
    if "validation" in indexed and ("test" not in indexed or test == "validation"):
        indexed["test"] = indexed.pop("validation")
    if "train" not in indexed:
        raise DataError(f"{index.place} has no train split: name its files or folder train")
    splits = {
        part: SplitRows(split.images, np.arange(len(split.labels)), split.labels)
        for part, split in indexed.items()
    }
    for split in splits.values():
        _check_labeled(split, index.place)
    train = splits["train"]
    hold_out = "validation" not in splits
    _check_counts(train.labels, index, least=2 if hold_out else 1)
    if hold_out:
        kept, held = stratified_split(train.labels, validation, seed=SEED)
        splits["train"] = SplitRows(train.images, kept, train.labels[kept])
        splits["validation"] = SplitRows(train.images, held, train.labels[held])
    return splits


def fingerprint(index: ImageIndex, splits: dict[Role, SplitRows], rule: str) -> str:
    """A hex sha256 of classes, data, rows, labels and rule; the same on every machine."""
    data = [f"{part} {index.splits[part].identity}" for part in sorted(index.splits)]
    rows = [
        piece
        for part in sorted(splits)
        for piece in (part, splits[part].rows.tobytes(), splits[part].labels.tobytes())
    ]
    return digest([*index.classes, *data, *rows, rule])


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """About `wanted` indices below `count`, in runs of 16, so that few row groups are touched."""
    if count <= wanted:
        return np.arange(count)
    starts = np.linspace(0, count - 16, wanted // 16).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(16))


def _check_labeled(split: SplitRows, place: str) -> None:
    missing = np.flatnonzero(split.labels == UNLABELED)
    if len(missing):
        names = some(split.images.name(row) for row in missing.tolist())
        raise DataError(
            f"{place}: {len(missing)} images have no label: {names}; move each into the folder "
            "of its class, give it a label, or remove it"
        )


def _check_counts(labels: NDArray[np.int64], index: ImageIndex, *, least: int) -> None:
    if not index.classes:
        raise DataError(
            f"{index.place} has no labelled images: put the images of each class into a folder "
            "of their own, named after the class"
        )
    counts = np.bincount(labels, minlength=len(index.classes))
    few = [f"{index.classes[k]} ({counts[k]})" for k in np.flatnonzero(counts < least)]
    if few:
        raise DataError(
            f"{index.place}: classes with too few images in train: {some(few)}; each needs at "
            f"least {least}{', as one is held out as validation' if least > 1 else ''}"
        )


def _shape(images: Images, row: int) -> tuple[int, int, str]:
    try:
        image = images.open(row)
    except Exception as failure:  # decoders raise of every kind
        raise DataError(
            f"{images.name(row)} cannot be read ({decode_error(failure)}): repair or remove it, "
            "then repeat (`d3data init` lists all such images)"
        ) from failure
    return image.width, image.height, image.mode
