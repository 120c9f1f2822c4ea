"""Scans labelled images before anything is distilled: counts, sizes, and what is wrong."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d3data.errors import DataError
from d3data.images import formats
from d3data.images.formats.index import UNLABELED, Images, IndexedSplit, Role, decode_error
from d3data.images.preprocessing import suggest_rule
from d3data.images.splits import spread
from d3data.images.tasks import TaskSpec
from d3data.utils.text import counted, some

MOST = 20_000  # images that are decoded, spread evenly where a place holds more

Shape = tuple[int, int, str]  # width, height, Pillow's mode


@dataclass(frozen=True)
class ImageScan:
    """What a place holds, and the task that is suggested for it.

    `counts` are labelled images per class, for each split; `sizes` (width, height, images) and
    `modes` (Pillow's name, images) of those `checked` out of `total`, the most frequent first;
    `broken` and `unlabeled` images are listed by name.
    """

    place: str
    classes: tuple[str, ...]
    counts: Mapping[Role, tuple[int, ...]]
    sizes: tuple[tuple[int, int, int], ...]
    modes: tuple[tuple[str, int], ...]
    broken: tuple[str, ...]
    unlabeled: tuple[str, ...]
    checked: int
    total: int
    spec: TaskSpec

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps the suggested task from being loaded or decoded, a sentence each."""
        if "train" not in self.counts:
            return ("there is no train split: name its files or folder train",)
        if not self.classes:
            return ("there are no classes: put the images of each class into a folder of its own",)
        per_class = zip(self.classes, self.counts["train"], strict=True)
        few = [name for name, count in per_class if count < 2]
        broken, bare = (counted(len(names), "image") for names in (self.broken, self.unlabeled))
        small = counted(len(few), "class", "classes")
        problems = (
            (self.broken, f"{broken} cannot be decoded", "repair or remove it"),
            (self.unlabeled, f"{bare} without a label", "move it into the folder of its class"),
            (few, f"{small} with fewer than 2 images", "add images or remove it"),
        )
        return tuple(f"{fault} ({some(names)}): {fix}" for names, fault, fix in problems if names)


def scan_images(place: str | Path, *, most: int = MOST) -> ImageScan:
    """Index a place, as `load_task` takes it, decode at most `most` images and suggest a task."""
    index = formats.read(place)
    total = sum(len(split.labels) for split in index.splits.values())
    share = min(1.0, most / max(1, total))
    decoded = [pair for split in index.splits.values() for pair in _decode(split, share)]
    shapes = [shape for _, shape in decoded if not isinstance(shape, str)]
    broken = [f"{name}: {fault}" for name, fault in decoded if isinstance(fault, str)]
    if not shapes:
        reason = f"no image can be decoded ({some(broken)})" if broken else "there are no images"
        raise DataError(f"{place}: {reason}")
    rule = suggest_rule(shapes)
    sizes = Counter((width, height) for width, height, _ in shapes).most_common()
    return ImageScan(
        place=index.place,
        classes=index.classes,
        counts={part: _counts(own, len(index.classes)) for part, own in index.splits.items()},
        sizes=tuple((width, height, count) for (width, height), count in sizes),
        modes=tuple(Counter(mode for _, _, mode in shapes).most_common()),
        broken=tuple(broken),
        unlabeled=tuple(
            own.images.name(row)
            for own in index.splits.values()
            for row in np.flatnonzero(own.labels == UNLABELED).tolist()
        ),
        checked=len(decoded),
        total=total,
        spec=TaskSpec(
            name=_task_name(str(place)),
            data=str(place),
            size=rule.size,
            channels=rule.channels,
            fit=rule.fit,
        ),
    )


def _decode(split: IndexedSplit, share: float) -> list[tuple[str, Shape | str]]:
    count = len(split.labels)
    rows = spread(count, max(16, round(share * count))).tolist()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        shapes = threads.map(lambda row: _shape(split.images, row), rows)
        return [(split.images.name(row), shape) for row, shape in zip(rows, shapes, strict=True)]


def _shape(images: Images, row: int) -> Shape | str:
    try:
        with images.open(row) as image:
            shape = image.width, image.height, image.mode
            image.draft(image.mode, (1, 1))  # a JPEG is read whole, but not transformed whole
            image.load()
    except Exception as failure:  # decoders raise of every kind
        return decode_error(failure)
    return shape


def _counts(split: IndexedSplit, classes: int) -> tuple[int, ...]:
    labeled = split.labels[split.labels != UNLABELED]
    return tuple(np.bincount(labeled, minlength=classes).tolist())


def _task_name(place: str) -> str:
    """A name for a task: `/data/My Flowers.tar` -> `my-flowers`, `hf:a/b:small@v1` -> `b`."""
    scheme, _, rest = place.partition(":")
    if scheme in ("hf", "torchvision"):
        name = re.split(r"[:@]", rest)[0].split("/")[-1]
    else:
        name = re.sub(r"\.(parquet|tar|npz)$", "", Path(place).expanduser().resolve().name)
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-") or "own-images"
