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
    """`count` images (C, H, W), to be written into `folder` in shards of nearly equal size.

    `scratch` is a folder for what is only put together when all shards are written; class names
    may be anybody's text.
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
        return shard_ranges(self.count, self.shards)[shard]

    def piece(self, name: str, shard: int) -> Path:
        """A file of the scratch folder: what one shard gives to a file made of all."""
        return self.scratch / f"{name}-{shard:05d}"

    def pieces(self, name: str) -> list[Path]:
        return [self.piece(name, shard) for shard in range(self.shards)]


def shard_ranges(count: int, shards: int) -> list[range]:
    """So many images, cut into shards of nearly equal size."""
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
    """Write `classes.txt`, a name a line."""
    write_bytes(folder / NAMES, "".join(f"{name}\n" for name in classes).encode())


def read_names(folder: Path) -> list[str] | None:
    """The names in `classes.txt`, or None where there is no such file."""
    path = folder / NAMES
    if not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as failure:
        raise DataError(f"{path} is no UTF-8 text ({failure}); repair or remove it") from None
