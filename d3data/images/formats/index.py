"""What every format reads into: an index of labelled images, none of which is read yet."""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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


@dataclass(frozen=True)
class Images:
    """The images of one split, where they are stored.

    `name` is what messages call the image of an index: its path, or the file and its row. `read`
    gives its encoded bytes, or the decoded image, and is called from several threads.
    """

    count: int
    name: Callable[[int], str]
    read: "Callable[[int], bytes | Image.Image]"

    def __len__(self) -> int:
        return self.count

    def open(self, index: int) -> "Image.Image":
        """Open one image; its pixels are decoded when they are first accessed."""
        from PIL import Image

        content = self.read(index)
        return Image.open(io.BytesIO(content)) if isinstance(content, bytes) else content


@dataclass(frozen=True)
class IndexedSplit:
    """The images of one split: labels are (N,) int64 indices of classes, -1 where none is known.

    `identity` is a digest of the content (names, sizes or pixels), the same on any machine.
    """

    images: Images
    labels: NDArray[np.int64]
    identity: str


StoredSplit = tuple[Images, NDArray[Any], str]  # labels (N,) as the format has them, identity


@dataclass(frozen=True)
class ImageIndex:
    """All labelled images of one place, by split."""

    classes: tuple[str, ...]
    splits: Mapping[Role, IndexedSplit]
    place: str


def index_images(
    stored: Mapping[Role, StoredSplit], names: Sequence[str] | None, place: str
) -> ImageIndex:
    """The index of what a format has read, with labels numbered as `class_labels` does."""
    labels = {part: values for part, (_, values, _) in stored.items()}
    classes, numbers = class_labels(labels, names, place)
    splits = {
        part: IndexedSplit(images, numbers[part], identity)
        for part, (images, _, identity) in stored.items()
    }
    return ImageIndex(classes, splits, place)


def array_images(
    arrays: "NDArray[np.uint8] | Callable[[], NDArray[np.uint8]]", count: int, place: str
) -> Images:
    """Images of a uint8 array (N, H, W) or (N, H, W, 3), or of a function that loads it."""
    from PIL import Image

    def read(index: int) -> "Image.Image":
        return Image.fromarray((arrays() if callable(arrays) else arrays)[index])

    return Images(count, lambda index: f"{place}[{index}]", read)


def decode_error(failure: Exception) -> str:
    """Why an image cannot be decoded, for a message that names the image."""
    from PIL import UnidentifiedImageError

    if isinstance(failure, UnidentifiedImageError):
        return "not an image file that Pillow can read"
    return str(failure) or type(failure).__name__


def role(name: str, *, whole: bool = False) -> Role | None:
    """The split that the name of a folder or file contains, or is (`whole`).

    >>> role("train-00000-of-00002"), role("valid"), role("trainer")
    ('train', 'validation', None)
    >>> role("train station", whole=True)
    """
    find = _ROLE.fullmatch if whole else _ROLE.search
    match = find(name.lower())
    return ROLES[(match.lastindex or 1) - 1] if match else None


def by_role(files: Iterable[Path], root: Path) -> dict[Role, list[Path]]:
    """Files by the split in their names, else in those of folders below `root`, else train."""
    parts: dict[Role, list[Path]] = {}
    for file in files:
        *folders, own = file.relative_to(root).parts
        roles = (role(own), *(role(folder, whole=True) for folder in reversed(folders)))
        parts.setdefault(next(filter(None, roles), "train"), []).append(file)
    return parts


def stratified_split(
    labels: NDArray[np.int64], fraction: float, *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices kept and held out, ascending: `fraction` of every class, at least one image of each.

    The raw words of PCG64 order the images, as NumPy promises these for all its versions.
    """
    order = np.lexsort((np.random.PCG64(seed).random_raw(len(labels)), labels))
    _, starts = np.unique(labels[order], return_index=True)
    out = np.zeros(len(labels), bool)
    for members in np.split(order, starts[1:]):
        out[members[: max(1, round(fraction * len(members)))]] = True
    return np.flatnonzero(~out), np.flatnonzero(out)


def class_labels(
    values: Mapping[Role, NDArray[Any]], names: Sequence[str] | None, place: str
) -> tuple[tuple[str, ...], dict[Role, NDArray[np.int64]]]:
    """Class names, and each split's labels as indices of them.

    Integers index `names`; without names, the distinct integers or strings of all splits are the
    classes, in ascending order. Negative numbers and empty strings are unlabelled.
    """
    merged = np.concatenate(list(values.values()))
    numeric = bool(np.issubdtype(merged.dtype, np.integer))
    known = np.unique(merged[merged >= 0] if numeric else merged[merged != ""])
    if names is not None and numeric:
        if len(known) and known[-1] >= len(names):
            raise DataError(f"{place}: label {known[-1]}, but only {len(names)} class names")
        return tuple(names), {part: np.maximum(own, UNLABELED) for part, own in values.items()}
    classes = [str(value) for value in known] if names is None else list(names)
    if unnamed := sorted({str(value) for value in known} - set(classes)):
        raise DataError(f"{place}: labels that are not in its list of classes: {some(unnamed)}")
    index = {value: classes.index(str(value)) for value in known.tolist()}
    return tuple(classes), {
        part: np.array([index.get(value, UNLABELED) for value in own.tolist()], np.int64)
        for part, own in values.items()
    }
