"""Scans labelled images before anything is distilled: counts, sizes, and what is wrong."""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from d3data.errors import DataError
from d3data.images import formats
from d3data.images.decoded import spread
from d3data.images.formats.index import ImageIndex, Images, IndexedSplit, decode_error
from d3data.images.formats.labels import UNLABELED
from d3data.images.formats.layout import ROLES, Role
from d3data.images.preprocessing import (
    BITS_16,
    MOST_WHITE,
    Preprocessing,
    kind_of,
    range_fault,
    suggest_rule,
)
from d3data.images.presets import PRESETS
from d3data.images.splits import require_images
from d3data.images.tasks import SEEN, TaskSpec
from d3data.utils.paths import expanded
from d3data.utils.text import counted, slug, some

if TYPE_CHECKING:
    import PIL.Image

MOST = 20_000  # images that are decoded, spread evenly where a place holds more

Shape = tuple[int, int, str]  # width, height, Pillow's mode


@dataclass(frozen=True)
class ImageScan:
    """What a place holds, and the task that is suggested for it.

    `counts` are labelled images per class, for each split; `sizes` (width, height, images) and
    `modes` (Pillow's name, images) of those `checked` out of `total`, the most frequent first;
    `broken` and `unlabeled` images are listed by name. `notes` say what was taken and left out,
    `problems` what keeps the suggested task from being loaded or decoded, a sentence each. `least`
    is how many images of each class there are to train on, at least.
    """

    place: str
    classes: tuple[str, ...]
    counts: Mapping[Role, tuple[int, ...]]
    sizes: tuple[tuple[int, int, int], ...]
    modes: tuple[tuple[str, int], ...]
    broken: tuple[str, ...]
    unlabeled: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    checked: int
    total: int
    least: int
    spec: TaskSpec


class Looked(NamedTuple):
    """One image: its name, and its shape or what is wrong with it."""

    name: str
    shape: Shape | None
    fault: str = ""
    frames: int = 1


def scan_images(
    place: str | Path,
    *,
    most: int = MOST,
    name: str | None = None,
    columns: tuple[str, str] | None = None,
    splits: Mapping[Role, str] | None = None,
    classes: int | None = None,
    white: float | None = None,
) -> ImageScan:
    """Index a place, as `load_task` takes it, decode at most `most` images and suggest a task.

    What is accepted is what `load_task` accepts: the same rules are applied.
    """
    given = {"columns": columns, "splits": splits, "classes": classes, "white": white}
    own = {"name": name or _task_name(str(place)), "data": str(place), **given}
    spec = TaskSpec.parse(own, where="the images", error=DataError)
    index = formats.read(place, columns=columns, splits=splits)
    known = PRESETS.get(spec.name)
    if name is None and known and known.classes != len(index.classes):
        spec = spec.model_copy(update={"name": f"own-{spec.name}"})
    index = index if spec.name in PRESETS else index.used()
    require_images(index)
    total = sum(len(split.labels) for split in index.splits.values())
    share = min(1.0, most / max(1, total))
    dark = range_fault(_opened(index)) if white is None else None
    looked = [
        image
        for split in index.splits.values()
        for image in _look(split, share, MOST_WHITE if dark else white)
    ]
    shapes = [image.shape for image in looked if image.shape]
    broken = tuple(f"{image.name}: {image.fault}" for image in looked if image.fault)
    if not shapes:
        reason = f"no image can be decoded ({some(broken)})"
        raise DataError(". ".join([f"{index.place}: {reason}", *index.notes]))
    spec = _suggested(spec, shapes)
    unlabeled = tuple(
        split.images.name(row)
        for split in index.splits.values()
        for row in np.flatnonzero(split.labels == UNLABELED).tolist()
    )
    there = [part for part in ROLES if part in index.splits]
    counts = {part: _counts(index.splits[part], len(index.classes)) for part in there}
    problems = _problems(index, counts, broken, unlabeled, dark)
    least, fault = (0, "") if problems else _loaded(spec)
    sizes = Counter((width, height) for width, height, _ in shapes).most_common()
    return ImageScan(
        place=index.place,
        classes=index.classes,
        counts=counts,
        sizes=tuple((width, height, count) for (width, height), count in sizes),
        modes=tuple(Counter(mode for _, _, mode in shapes).most_common()),
        broken=broken,
        unlabeled=unlabeled,
        notes=(*index.notes, *_frames(looked), *_roles(index)),
        problems=(*problems, *([fault] if fault else [])),
        checked=len(looked),
        total=total,
        least=least,
        spec=spec,
    )


def _suggested(spec: TaskSpec, shapes: list[Shape]) -> TaskSpec:
    """The task with the rule for these images; what is white in 16 bits is said from then on."""
    rule = suggest_rule(shapes)
    shape = {"size": rule.size, "channels": rule.channels, "fit": rule.fit}
    wide = any(kind.startswith("I") for *_, kind in shapes)
    white = {"white": float(BITS_16)} if wide and spec.white is None else {}
    return spec.model_copy(update=shape | white)


def _loaded(spec: TaskSpec) -> tuple[int, str]:
    """How many images of a class there are to train on, at least, or why it is not loaded."""
    try:
        return min(spec.load().train.counts()), ""
    except DataError as failure:
        return 0, str(failure)


def _problems(
    index: ImageIndex,
    counts: Mapping[Role, tuple[int, ...]],
    broken: tuple[str, ...],
    unlabeled: tuple[str, ...],
    dark: str | None,
) -> list[str]:
    """What is wrong with single images and classes, all of it at once."""
    train = counts.get("train", ())
    least = 1 if {"validation", "test"} <= counts.keys() else 2
    counted_classes = zip(index.classes, train, strict=False) if any(train) else ()
    few = [name for name, count in counted_classes if count < least]
    images, bare = counted(len(broken), "image"), counted(len(unlabeled), "image")
    small = counted(len(few), "class", "classes")
    problems = (
        (broken, f"{images} cannot be decoded", "repair or remove it"),
        (unlabeled, f"{bare} without a label", index.labeling),
        (
            few,
            f"{small} with fewer than {counted(least, 'image')} in train",
            "add images or remove it",
        ),
    )
    found = [f"{fault} ({some(names)}): {fix}" for names, fault, fix in problems if names]
    return [*found, *([dark] if dark else [])]


def _roles(index: ImageIndex) -> tuple[str, ...]:
    """What validation and test are, where a place does not have both."""
    held = "a part of train is held out as validation"
    if index.splits.keys() >= {"validation", "test"} or "train" not in index.splits:
        return ()
    if "validation" in index.splits:
        return (f"its validation split is what is evaluated on (--split test); {held}",)
    if "test" in index.splits:
        return (held,)
    return (f"there is no test split; {held}: evaluate with --split validation",)


def _look(split: IndexedSplit, share: float, white: float | None) -> list[Looked]:
    count = len(split.labels)
    rows = spread(count, max(16, round(share * count))).tolist()
    rule = Preprocessing(channels=3, size=8, fit="crop", white=white)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return list(threads.map(lambda row: _look_at(split.images, row, rule), rows))


def _look_at(images: Images, row: int, rule: Preprocessing) -> Looked:
    shape, frames = None, 1
    try:
        with images.open(row) as image:
            shape = image.width, image.height, kind_of(image)
            with contextlib.suppress(Exception):  # of pages that are not read
                frames = getattr(image, "n_frames", 1)
            image.draft(image.mode, (1, 1))  # a JPEG is read whole, but not transformed whole
            rule(image)
    except Exception as failure:  # decoders raise of every kind
        return Looked(images.name(row), None, decode_error(failure))
    return Looked(images.name(row), shape, frames=frames)


def _frames(looked: Sequence[Looked]) -> tuple[str, ...]:
    """A note of images of which only the first frame or page is read."""
    several = [image.name for image in looked if image.frames > 1]
    if not several:
        return ()
    count = counted(len(several), "image")
    return (f"{count} with several frames or pages, of which the first is read: {some(several)}",)


def _opened(index: ImageIndex) -> "Iterator[PIL.Image.Image]":
    for split in index.splits.values():
        for row in spread(len(split.labels), SEEN).tolist():
            with contextlib.suppress(Exception):  # what cannot be decoded is told elsewhere
                yield split.images.open(row)


def _counts(split: IndexedSplit, classes: int) -> tuple[int, ...]:
    labeled = split.labels[split.labels != UNLABELED]
    return tuple(np.bincount(labeled, minlength=classes).tolist())


def _task_name(place: str) -> str:
    """A name for a task: `/data/My Flowers.tar` -> `my-flowers`, `hf:a/b:small@v1` -> `b`."""
    scheme, _, rest = place.partition(":")
    if scheme in ("hf", "torchvision"):
        name = re.split(r"[:@]", rest)[0].split("/")[-1]
    else:
        name = re.sub(r"\.(parquet|tar|npz)$", "", expanded(place).resolve().name)
    return slug(re.sub(r"[._]", "-", name))
