"""A look at labelled images before anything is distilled: what is there, what is wrong with it."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d3data.errors import DataError
from d3data.images import formats
from d3data.images.formats.index import UNLABELED, Images, Portion, Role
from d3data.images.partition import spread
from d3data.images.png import picture
from d3data.images.preprocessing import suited
from d3data.images.tasks import TaskSpec
from d3data.utils.text import some

MOST = 20_000  # images that are decoded, spread evenly where a place holds more

Shape = tuple[int, int, str]  # width, height, Pillow's mode


@dataclass(frozen=True)
class Inspection:
    """What a place holds, and the task that is suggested for it.

    `counts` are labelled images per class, for each split; `sizes` (width, height, images) and
    `modes` (Pillow's name, images) of those `checked` out of `total`, the most frequent first;
    `broken` and `unlabelled` images are listed by name.
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
        train = self.counts.get("train", ())
        few = [name for name, count in zip(self.classes, train, strict=False) if count < 2]
        found = {
            "no train split: call its files or folder train...": [] if train else [self.place],
            "images that cannot be decoded: repair or remove them": self.broken,
            "images without a label: move each into the folder of its class": self.unlabeled,
            "classes with fewer than 2 images: add some, or remove the class": few,
        }
        return tuple(
            f"{len(names)} {text} ({some(names)})" for text, names in found.items() if names
        )


def inspect(place: str | Path, *, most: int = MOST) -> Inspection:
    """Index a place, decode its images and suggest a task.

    Args:
        place: a path, `hf:...` or `torchvision:...`, as `load_task` takes it.
        most: images that are decoded at most, spread evenly; all are indexed.

    Raises:
        DataError: there is nothing there, or not one image that can be decoded.
    """
    found = formats.read(place)
    total = sum(len(portion.labels) for portion in found.portions.values())
    share = min(1.0, most / max(1, total))
    looked = [pair for part in found.portions.values() for pair in _looked(part, share)]
    shapes = [shape for _, shape in looked if not isinstance(shape, str)]
    broken = [f"{name} ({fault})" for name, fault in looked if isinstance(fault, str)]
    if not shapes:
        raise DataError(f"{place}: not one image that can be decoded ({some(broken)})")
    rule = suited(shapes)
    sizes = Counter((width, height) for width, height, _ in shapes).most_common()
    return Inspection(
        place=found.place,
        classes=found.classes,
        counts={part: _counts(own, found.classes) for part, own in found.portions.items()},
        sizes=tuple((width, height, count) for (width, height), count in sizes),
        modes=tuple(Counter(mode for _, _, mode in shapes).most_common()),
        broken=tuple(broken),
        unlabeled=tuple(name for own in found.portions.values() for name in _unlabeled(own)),
        checked=len(looked),
        total=total,
        spec=TaskSpec(
            name=_task_name(str(place)),
            data=str(place),
            size=rule.size,
            channels=rule.channels,
            fit=rule.fit,
        ),
    )


def _looked(portion: Portion, share: float) -> list[tuple[str, Shape | str]]:
    """The name of each image looked at and its shape, or why it cannot be decoded."""
    count = len(portion.labels)
    rows = spread(count, max(16, round(share * count))).tolist()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        found = threads.map(lambda row: _decoded(portion.images, row), rows)
        return [(portion.images.name(row), shape) for row, shape in zip(rows, found, strict=True)]


def _decoded(images: Images, row: int) -> Shape | str:
    try:
        with picture(images, row) as image:
            shape = image.width, image.height, image.mode
            image.draft(image.mode, (1, 1))  # a JPEG is read whole, but not transformed whole
            image.load()
    except Exception as failure:  # decoders raise of every kind
        return str(failure) or type(failure).__name__
    return shape


def _counts(portion: Portion, classes: Sequence[str]) -> tuple[int, ...]:
    labeled = portion.labels[portion.labels != UNLABELED]
    return tuple(np.bincount(labeled, minlength=len(classes)).tolist())


def _unlabeled(portion: Portion) -> list[str]:
    rows = np.flatnonzero(portion.labels == UNLABELED)
    return [portion.images.name(row) for row in rows.tolist()]


def _task_name(place: str) -> str:
    """A name for a task: `/data/My Flowers.tar` -> `my-flowers`, `hf:a/b:small@v1` -> `b`."""
    scheme, _, rest = place.partition(":")
    if scheme in ("hf", "torchvision"):
        name = re.split(r"[:@]", rest)[0].split("/")[-1]
    else:
        name = re.sub(r"\.(parquet|tar|npz)$", "", Path(place).expanduser().resolve().name)
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-") or "own-images"
