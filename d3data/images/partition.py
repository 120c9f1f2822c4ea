"""From what a place holds to the rows of train, validation and test, all checked."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats.index import UNLABELED, Collection, Images, Portion, Role, stratified
from d3data.images.png import picture
from d3data.utils.hashing import digest
from d3data.utils.text import some

SEED = 1  # of the images that are held out


class Rows(NamedTuple):
    """The images of one split: which rows (M,) of a place, and their labels (M,)."""

    images: Images
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]

    def shapes(self, wanted: int) -> list[tuple[int, int, str]]:
        """Width, height and mode of about `wanted` images spread over all, from their headers.

        Raises:
            DataError: one has no readable header.
        """
        return [_shape(self.images, row) for row in self.rows[spread(len(self.rows), wanted)]]


def partition(found: Collection, *, test: Role, validation: float) -> dict[Role, Rows]:
    """The rows of each split.

    Args:
        found: what the place holds.
        test: the split to evaluate on; where there is no test split, it is validation.
        validation: the fraction of train that is held out where no validation split is left.

    Raises:
        DataError: there is no train split, images are unlabelled, or a class has too few.
    """
    portions = dict(found.portions)
    if "validation" in portions and ("test" not in portions or test == "validation"):
        portions["test"] = portions.pop("validation")
    if "train" not in portions:
        raise DataError(f"{found.place}: no train split; call its files or folder train...")
    for portion in portions.values():
        _check_labeled(portion, found.place)
    splits = {
        part: Rows(portion.images, np.arange(len(portion.labels)), portion.labels)
        for part, portion in portions.items()
    }
    train = splits["train"]
    cut = "validation" not in splits
    _check_counts(train.labels, found, least=2 if cut else 1)
    if cut:
        kept, held = stratified(train.labels, validation, seed=SEED)
        splits["train"] = Rows(train.images, kept, train.labels[kept])
        splits["validation"] = Rows(train.images, held, train.labels[held])
    return splits


def fingerprint(found: Collection, splits: dict[Role, Rows], rule: str) -> str:
    """A hex sha256 of classes, data, rows, labels and rule; the same on every machine."""
    data = [f"{part} {found.portions[part].identity}" for part in sorted(found.portions)]
    rows = [
        piece
        for part in sorted(splits)
        for piece in (part, splits[part].rows.tobytes(), splits[part].labels.tobytes())
    ]
    return digest([*found.classes, *data, *rows, rule])


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """About `wanted` indices below `count`, in runs of 16, so that few row groups are touched."""
    if count <= wanted:
        return np.arange(count)
    starts = np.linspace(0, count - 16, wanted // 16).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(16))


def _check_labeled(portion: Portion, place: str) -> None:
    missing = np.flatnonzero(portion.labels == UNLABELED)
    if len(missing):
        names = some(portion.images.name(row) for row in missing.tolist())
        raise DataError(
            f"{place}: {len(missing)} images have no label: {names}; move each into the folder "
            "of its class, give it a label, or remove it"
        )


def _check_counts(labels: NDArray[np.int64], found: Collection, *, least: int) -> None:
    if not found.classes:
        raise DataError(f"{found.place}: no labelled images; give each class a folder of images")
    counts = np.bincount(labels, minlength=len(found.classes))
    few = [f"{found.classes[k]} ({counts[k]})" for k in np.flatnonzero(counts < least)]
    if few:
        raise DataError(
            f"{found.place}: classes with too few images in train: {some(few)}; each needs at "
            f"least {least}{', as one is held out as validation' if least > 1 else ''}"
        )


def _shape(images: Images, row: int) -> tuple[int, int, str]:
    try:
        found = picture(images, row)
    except Exception as failure:  # decoders raise of every kind
        raise DataError(
            f"{images.name(row)} cannot be used ({failure}); repair or remove it and repeat "
            "(`d3data init` on the data lists all such images)"
        ) from failure
    return found.width, found.height, found.mode
