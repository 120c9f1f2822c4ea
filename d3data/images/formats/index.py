"""What every format reads into: an index of labelled images, none of which is read yet."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats.files import diagnosis
from d3data.images.formats.labels import UNLABELED, class_labels, plain_labels
from d3data.images.formats.layout import Role
from d3data.utils.hashing import digest
from d3data.utils.text import counted, some

if TYPE_CHECKING:
    from PIL import Image


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
        from PIL import Image, UnidentifiedImageError

        content = self.read(index)
        if not isinstance(content, bytes):
            return content
        try:
            return Image.open(io.BytesIO(content))
        except UnidentifiedImageError:
            what = diagnosis(content[:512])
            what = f": {what}" if what else ""
            raise DataError(f"not an image file that Pillow can read{what}") from None


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
    """All labelled images of one place, by split.

    `notes` say what was taken where there was a choice, and what was left out. Where classes are
    folders, `spare` is false: each must have images.
    """

    classes: tuple[str, ...]
    splits: Mapping[Role, IndexedSplit]
    place: str
    notes: tuple[str, ...] = ()
    spare: bool = True

    @property
    def labeling(self) -> str:
        """What to do about an image without a label."""
        if self.spare:
            return "give it a label, or remove it"
        return "move it into the folder of its class, or remove it"

    def used(self) -> "ImageIndex":
        """Without splits that have no label at all, beside train, and classes without images."""
        bare = [
            part
            for part, own in self.splits.items()
            if part != "train" and (own.labels == UNLABELED).all()
        ]
        splits = {part: own for part, own in self.splits.items() if part not in bare}
        notes = [
            f"left out: the {part} split, which has no "
            + ("labels" if len(self.splits[part].labels) else "images")
            for part in bare
        ]
        merged = np.concatenate([own.labels for own in splits.values()] or [np.empty(0, int)])
        counts = np.bincount(merged[merged != UNLABELED], minlength=len(self.classes))
        classes = self.classes
        if self.spare and counts.any() and not counts.all():
            numbers = np.append(np.cumsum(counts > 0) - 1, UNLABELED)  # the last is for UNLABELED
            splits = {
                part: replace(own, labels=numbers[own.labels]) for part, own in splits.items()
            }
            unused = [name for name, count in zip(classes, counts, strict=True) if not count]
            notes.append(
                f"left out: {counted(len(unused), 'class', 'classes')} without images "
                f"({some(unused, at_most=4)})"
            )
            classes = tuple(name for name in classes if name not in unused)
        return replace(self, classes=classes, splits=splits, notes=(*self.notes, *notes))

    def every(self, step: int) -> "ImageIndex":
        """Of the classes those numbered 0, step, 2 step and so on, and what has no label."""
        splits = {}
        for part, own in self.splits.items():
            chosen = (own.labels % step == 0) | (own.labels == UNLABELED)
            labels = np.where(own.labels == UNLABELED, UNLABELED, own.labels // step)
            stored = (own.images, labels, own.identity)
            rows = np.flatnonzero(chosen).tolist()
            splits[part] = IndexedSplit(*some_rows(stored, rows, f"every {step}"))
        return replace(self, classes=self.classes[::step], splits=splits)


def index_images(
    stored: Mapping[Role, StoredSplit],
    names: Sequence[str] | None,
    place: str,
    *,
    notes: Sequence[str] = (),
    spare: bool = True,
) -> ImageIndex:
    """The index of what a format has read, with labels numbered as `class_labels` does."""
    labels = {part: plain_labels(values, place) for part, (_, values, _) in stored.items()}
    classes, numbers = class_labels(labels, names, place)
    splits = {
        part: IndexedSplit(images, numbers[part], identity)
        for part, (images, _, identity) in stored.items()
    }
    return ImageIndex(classes, splits, place, tuple(filter(None, notes)), spare)


def some_rows(stored: StoredSplit, rows: Sequence[int], name: str) -> StoredSplit:
    """Some of the images of a split, as another one of that name."""
    images, labels, identity = stored
    fewer = Images(
        len(rows), lambda index: images.name(rows[index]), lambda index: images.read(rows[index])
    )
    return fewer, labels[np.array(rows, int)], digest([identity, name])


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
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror
    return str(failure) or type(failure).__name__


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
