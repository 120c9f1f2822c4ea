"""Images that others bring to train on as they are: the train split of a place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from d3data.errors import DataError
from d3data.images import formats
from d3data.images.formats.labels import UNLABELED
from d3data.images.formats.layout import Role
from d3data.images.preprocessing import range_fault
from d3data.images.splits import SplitRows, require_train
from d3data.images.tasks import SEEN, TaskSpec
from d3data.utils.text import counted, some


class TrainingImages(NamedTuple):
    """The train split of a place, all with labels; `others` are splits that are left out."""

    classes: tuple[str, ...]
    rows: SplitRows
    others: tuple[str, ...]
    notes: tuple[str, ...]


def training_images(
    place: str | Path,
    *,
    columns: tuple[str, str] | None = None,
    splits: Mapping[Role, str] | None = None,
    white: float | None = None,
) -> TrainingImages:
    """Read the train split of a place, by the rules of `load_task`, which explains the options.

    Raises:
        DataError: it has no train split, or images without a label, or of unknown range.
    """
    given: dict[str, Any] = {"columns": columns, "splits": splits, "white": white}
    TaskSpec.parse({"name": "images", **given}, where=str(place), error=DataError)
    index = formats.read(place, columns=columns, splits=splits)
    require_train(index)
    own = index.splits["train"]
    rows = SplitRows(own.images, np.arange(len(own.labels)), own.labels)
    if bare := np.flatnonzero(own.labels == UNLABELED).tolist():
        raise DataError(
            f"{place}: {counted(len(bare), 'image')} without a label: "
            f"{some(map(own.images.name, bare))}; {index.labeling}"
        )
    if white is None and (fault := range_fault(rows.opened(SEEN))):
        raise DataError(f"{place}: {fault}")
    splits_there = {part: len(split.labels) for part, split in index.splits.items()}
    others = tuple(part for part, count in splits_there.items() if part != "train" and count)
    used = f"trained on: {counted(len(rows.rows), 'image')} of train; not {some(others)}"
    notes = (*index.notes, *([used] if others else []))
    return TrainingImages(index.classes, rows, others, notes)
