"""What every format reads into: labelled images that stay where they are until asked for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.utils.text import some

if TYPE_CHECKING:
    from PIL import Image

Role = Literal["train", "validation", "test"]
ROLES: tuple[Role, ...] = ("train", "validation", "test")
UNLABELED = -1

_ROLE = re.compile(r"(?<![a-z])(?:(train(?:ing)?)|(val(?:id(?:ation)?)?)|(test(?:ing)?))(?![a-z])")


class Images(Protocol):
    """Images in a place, encoded or not; nothing is in memory before it is read."""

    def __len__(self) -> int:
        """How many there are."""

    def name(self, index: int) -> str:
        """What to call one of them in a message: its path, or the file and its row."""

    def read(self, index: int) -> "bytes | Image.Image":
        """The bytes of its file, or the image; called from several threads."""


@dataclass(frozen=True)
class Portion:
    """The images of one split: labels are (N,) int64 indices of classes, -1 where none is known.

    `identity` is a digest of what is there (names, sizes or pixels), the same on any machine.
    """

    images: Images
    labels: NDArray[np.int64]
    identity: str


@dataclass(frozen=True)
class Collection:
    """All labelled images of one place, by split."""

    classes: tuple[str, ...]
    portions: Mapping[Role, Portion]
    place: str


@dataclass(frozen=True)
class Arrays:
    """Images of one size that are in memory: `pixels` is uint8 (N, H, W) or (N, H, W, 3)."""

    pixels: NDArray[np.uint8]
    place: str

    def __len__(self) -> int:
        """How many there are."""
        return len(self.pixels)

    def name(self, index: int) -> str:
        """The place and the row."""
        return f"{self.place}[{index}]"

    def read(self, index: int) -> "Image.Image":
        """The image in one row."""
        from PIL import Image

        return Image.fromarray(self.pixels[index])


def role(name: str, *, whole: bool = False) -> Role | None:
    """The split that the name of a folder or file speaks of, somewhere or as a `whole`.

    >>> role("train-00000-of-00002"), role("valid"), role("trainer")
    ('train', 'validation', None)
    >>> role("train station", whole=True)
    """
    find = _ROLE.fullmatch if whole else _ROLE.search
    match = find(name.lower())
    return ROLES[(match.lastindex or 1) - 1] if match else None


def by_role(files: Iterable[Path], root: Path) -> dict[Role, list[Path]]:
    """Files by the split that their names, or else the folders below `root`, speak of.

    Those that speak of none are train.
    """
    parts: dict[Role, list[Path]] = {}
    for file in files:
        *folders, own = file.relative_to(root).parts
        told = (role(own), *(role(folder, whole=True) for folder in reversed(folders)))
        parts.setdefault(next(filter(None, told), "train"), []).append(file)
    return parts


def stratified(
    labels: NDArray[np.int64], fraction: float, *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut `fraction` of every class out, at least one image of each, by a fixed seed.

    The raw words of PCG64 order the images, as NumPy promises these for all its versions.

    Returns:
        Indices of what stays and of what is cut out, both ascending.
    """
    order = np.lexsort((np.random.PCG64(seed).random_raw(len(labels)), labels))
    _, starts = np.unique(labels[order], return_index=True)
    out = np.zeros(len(labels), bool)
    for members in np.split(order, starts[1:]):
        out[members[: max(1, round(fraction * len(members)))]] = True
    return np.flatnonzero(~out), np.flatnonzero(out)


def classified(
    values: Mapping[Role, NDArray[Any]], names: Sequence[str] | None, place: str
) -> tuple[tuple[str, ...], dict[Role, NDArray[np.int64]]]:
    """Class names, and each split's labels as indices of them.

    Integers index `names`; without names, the distinct integers or strings of all splits are the
    classes, in ascending order. Negative numbers and empty strings are unlabelled.

    Raises:
        DataError: a label has no name.
    """
    found = np.concatenate(list(values.values()))
    numeric = bool(np.issubdtype(found.dtype, np.integer))
    known = np.unique(found[found >= 0] if numeric else found[found != ""])
    if names is not None and numeric:
        if len(known) and known[-1] >= len(names):
            raise DataError(f"{place}: label {known[-1]} where {len(names)} classes are named")
        return tuple(names), {part: np.maximum(own, UNLABELED) for part, own in values.items()}
    classes = [str(value) for value in known] if names is None else list(names)
    if strangers := sorted({str(value) for value in known} - set(classes)):
        raise DataError(f"{place}: classes without a name in its list: {some(strangers)}")
    index = {value: classes.index(str(value)) for value in known.tolist()}
    return tuple(classes), {
        part: np.array([index.get(value, UNLABELED) for value in found.tolist()], np.int64)
        for part, found in values.items()
    }
