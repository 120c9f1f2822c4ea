"""NumPy archives: `train_images`, `train_labels`, and so for val and test, as MedMNIST has them.

Keras' `x_train` and `y_train` are read too, and `images` and `labels` without a split, or what
`wanted` calls them. Images are uint8 (N, H, W) or (N, H, W, 3). An archive is compressed as a
whole, so the images of a split are loaded together, when the first of them is read. An array
`classes`, which MedMNIST has not, names the classes.
"""

import re
import shutil
import threading
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats.base import ExportPlan, Sample
from d3data.images.formats.files import Listing, unreadable, walk
from d3data.images.formats.index import ImageIndex, StoredSplit, array_images, index_images
from d3data.images.formats.labels import plain_labels
from d3data.images.formats.layout import CHOOSE, WORDS, Role, Splits, low, matched_level, roles
from d3data.utils.atomic import replacing
from d3data.utils.hashing import digest
from d3data.utils.text import some

FILES = ""  # `datasets` does not read it
HOW = """\
`numpy.load("images.npz")` has `train_images`, uint8 (N, H, W) or (N, H, W, 3), `train_labels`,
class ids (N,), `classes`, the names of the classes (K,), and, where the set has soft labels,
`train_soft_labels` (N, K). No array is compressed or pickled.
"""
ARCHIVE = "images.npz"
SUFFIX = ".npz"
_WORDS = {"images": {"images", "image", "x"}, "labels": {"labels", "label", "targets", "y"}}
_SPLITS = set().union(*WORDS.values())
CHOOSE_ARRAYS = (
    "name those that are meant, without the words of splits, `--columns IMAGES LABELS`, or "
    'columns = ["IMAGES", "LABELS"] in the recipe\'s [task]'
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file knows


def read(
    place: Path | Listing, wanted: tuple[str, str] | None = None, splits: Splits | None = None
) -> ImageIndex:
    """An archive, or the only one in a folder."""
    listing = walk(place)
    files = listing.ending(SUFFIX)
    if len(files) != 1:
        raise DataError(
            f"{listing.place} has {len(files)} archives ({some(files)}); give one of them"
        )
    file = listing.root / files[0]
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            pairs, rest = _pairs(archive.files, str(file), wanted, splits)
            labels = {
                part: plain_labels(_array(archive, label, file), f"{file}: {label}")
                for part, (_, label) in pairs.items()
            }
            names = _array(archive, "classes", file) if "classes" in archive else None
        stored = {part: _split(file, pairs[part][0], own) for part, own in labels.items()}
    except DataError:
        raise
    except Exception as failure:  # zipfile, zlib and NumPy raise of many kinds
        raise unreadable(file, failure, "an archive of arrays without pickles") from None
    if names is not None and (names.ndim != 1 or names.dtype.kind not in "US"):
        raise DataError(f"{file}: its array classes is not a list of names: remove it")
    names = None if names is None else plain_labels(names, f"{file}: classes")
    notes = [f"left out: {some(rest)}" if rest else "", listing.rest(files)]
    return index_images(stored, None if names is None else names.tolist(), str(file), notes=notes)


def _array(archive: Any, name: str, file: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = archive[name]
    except ValueError as failure:
        if "allow_pickle" not in str(failure):
            raise
        raise DataError(
            f"{file}: {name} is an array of Python objects, which only a pickle holds: store it "
            "as text or integers, such as labels.astype(str)"
        ) from None
    return array


def _pairs(
    names: Sequence[str], place: str, wanted: tuple[str, str] | None, splits: Splits | None
) -> tuple[dict[Role, tuple[str, str]], list[str]]:
    """The arrays of images and of labels of each split, and those that are neither."""
    found: dict[tuple[Role, str], str] = {}
    rest = []
    for name in names:
        kinds, strange = _kinds(name, wanted)
        chosen = [
            part
            for part, pattern in (splits or {}).items()
            if matched_level(name, pattern) is not None
        ]
        spoken = chosen if splits else sorted(roles(name))
        if len(kinds) != 1 or (splits and not chosen) or (strange and kinds == ["labels"]):
            rest.append(name)
            continue
        if (strange and not chosen) or len(spoken) > 1:
            raise DataError(
                f"{place}: {name} is not plainly of one split: {CHOOSE}; or {CHOOSE_ARRAYS}"
            )
        part: Role = spoken[0] if spoken else "train"
        other = found.setdefault((part, kinds[0]), name)
        if other != name:
            raise DataError(
                f"{place}: {other} and {name} are both {kinds[0]} of {part}: {CHOOSE_ARRAYS}"
            )
    parts = dict.fromkeys(part for part, _ in found)
    for part in parts:
        if lacking := [kind for kind in _WORDS if (part, kind) not in found]:
            raise DataError(
                f"{place} has no {lacking[0]} of {part} (arrays: {some(names)}): {CHOOSE_ARRAYS}"
            )
    if not parts:
        raise DataError(
            f"{place} has no train_images and train_labels, only {some(names)}: {CHOOSE_ARRAYS}"
        )
    return {part: (found[part, "images"], found[part, "labels"]) for part in parts}, [
        name for name in rest if name != "classes"
    ]


def _kinds(name: str, wanted: tuple[str, str] | None) -> tuple[list[str], bool]:
    """Whether an array has images or labels, and whether words in its name are of neither."""
    words = [word for word in re.split(r"[^a-z0-9]+", low(name)) if word]
    own = [word for word in words if word not in _SPLITS]
    if wanted:
        asked = zip(_WORDS, wanted, strict=True)
        bare = "_".join(own)
        return [kind for kind, text in asked if text == name or text.lower() == bare], False
    kinds = [kind for kind, known in _WORDS.items() if known & {*own}]
    return kinds, bool({*own} - set().union(*_WORDS.values()))


def write(plan: ExportPlan, shard: int, samples: Iterable[Sample]) -> None:
    """Write the values of one shard into the scratch folder, a file for each array."""
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(
                stack.enter_context(replacing(plan.piece(name, shard))).open("wb")
            )
            for name in _arrays(plan)
        }
        for _, (pixels, label, soft) in zip(plan.rows(shard), samples, strict=True):
            files["images"].write(pixels.permute(1, 2, 0).numpy(force=True).tobytes())
            files["labels"].write(np.array(label, "<i8").tobytes())
            if soft is not None:
                files["soft_labels"].write(soft.numpy(force=True).astype("<f4").tobytes())


def finish(plan: ExportPlan) -> None:
    """Put the archive together, in bounded memory."""
    with (
        replacing(plan.folder / ARCHIVE) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
    ):
        for name, (kind, shape) in _arrays(plan).items():
            header = {"descr": kind, "fortran_order": False, "shape": (plan.count, *shape)}
            member = zipfile.ZipInfo(f"{plan.split}_{name}.npy", _EPOCH)
            with archive.open(member, "w", force_zip64=True) as whole:
                np.lib.format.write_array_header_1_0(whole, header)
                for piece in plan.pieces(name):
                    with piece.open("rb") as values:
                        shutil.copyfileobj(values, whole)
        with archive.open(zipfile.ZipInfo("classes.npy", _EPOCH), "w", force_zip64=True) as whole:
            np.lib.format.write_array(whole, np.array(plan.classes), allow_pickle=False)


def _arrays(plan: ExportPlan) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What is written: dtype and the shape of one row, by name."""
    channels, height, width = plan.shape
    gray = channels == 1
    return {
        "images": ("|u1", (height, width) if gray else (height, width, channels)),
        "labels": ("<i8", ()),
        **({"soft_labels": ("<f4", (len(plan.classes),))} if plan.soft else {}),
    }


def _split(file: Path, key: str, labels: NDArray[Any]) -> StoredSplit:
    with zipfile.ZipFile(file) as archive, archive.open(f"{key}.npy") as member:
        info = archive.getinfo(member.name)
        first = np.lib.format.read_magic(member) == (1, 0)
        read_header = np.lib.format.read_array_header_1_0
        shape, _, kind = (read_header if first else np.lib.format.read_array_header_2_0)(member)
    if kind != np.uint8 or len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)):
        raise DataError(
            f"{file}: {key} is {kind} of shape {shape}, not uint8 (N, H, W) or (N, H, W, 3); "
            "store it as that, with values from 0 to 255"
        )
    if shape[0] != len(labels):
        raise DataError(f"{file}: {shape[0]} {key} and {len(labels)} labels; store one for each")
    lock = threading.Lock()

    @cache
    def load() -> NDArray[np.uint8]:
        with np.load(file, allow_pickle=False) as archive:
            values: NDArray[np.uint8] = archive[key]
            return values[..., 0] if shape[3:] == (1,) else values

    def locked() -> NDArray[np.uint8]:
        with lock:
            return load()

    identity = digest([f"{key.removesuffix('_images')} {info.file_size} {info.CRC:08x}"])
    return array_images(locked, len(labels), f"{file.name} {key}"), labels, identity
