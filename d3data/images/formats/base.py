"""What every format is written from: labelled images in shards, each there whole or not at all.

Legend: N images, C H W an image, K classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor

from d3data.errors import DataError
from d3data.utils.atomic import write_bytes

NAMES = "classes.txt"


class Sample(NamedTuple):
    """An image, uint8 (C, H, W), its class, and its soft label, float32 (K,), if it has one."""

    pixels: Tensor
    label: int
    soft: Tensor | None = None


@dataclass(frozen=True)
class ExportPlan:
    """Where images are written, and all that is known before the first of them is made.

    Attributes:
        folder: what other tools will read.
        scratch: a folder for what is only put together when all shards are written.
        classes: names, in order of class id; anybody's text.
        shape: (C, H, W) of every image.
        count: N.
        shards: in how many pieces of nearly equal size they are written.
        soft: whether samples have soft labels.
        split: what the images are for, in the words of the format's names.
    """

    folder: Path
    scratch: Path
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    count: int
    shards: int = 1
    soft: bool = False
    split: str = "train"

    def rows(self, shard: int) -> range:
        """The numbers of the images in one shard."""
        return shard_ranges(self.count, self.shards)[shard]

    def piece(self, name: str, shard: int) -> Path:
        """A file of the scratch folder: what one shard gives to something made of all."""
        return self.scratch / f"{name}-{shard:05d}"

    def pieces(self, name: str) -> list[Path]:
        """The files of all shards, in order."""
        return [self.piece(name, shard) for shard in range(self.shards)]


def shard_ranges(count: int, shards: int) -> list[range]:
    """So many images, cut into shards of nearly equal size.

    >>> shard_ranges(10, 3)
    [range(0, 3), range(3, 6), range(6, 10)]
    """
    ends = [shard * count // shards for shard in range(shards + 1)]
    return [range(*both) for both in pairwise(ends)]


class Writer(Protocol):
    """A module that writes a format; the same samples give the same bytes.

    `FILES` is what `datasets.load_dataset` has to look at, if it reads the format, and `HOW` says
    to people how the files are read.
    """

    FILES: str
    HOW: str

    def write(self, plan: ExportPlan, shard: int, samples: Iterable[Sample]) -> None:
        """Write the images `plan.rows(shard)`; what an earlier try left is written over."""

    def finish(self, plan: ExportPlan) -> None:
        """Write what is made of all shards, when they are there; may be done again."""


def write_names(folder: Path, classes: Sequence[str]) -> None:
    """Write `classes.txt`: a name a line, in order of class id."""
    write_bytes(folder / NAMES, "".join(f"{name}\n" for name in classes).encode())


def read_names(folder: Path) -> list[str] | None:
    """The names in `classes.txt`, or None where there is no such file.

    Raises:
        DataError: it is not text.
    """
    path = folder / NAMES
    if not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as failure:
        raise DataError(f"{path} is no UTF-8 text ({failure}); repair or remove it") from None
