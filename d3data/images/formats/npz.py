"""NumPy archives as MedMNIST ships them: `train_images`, `train_labels`, and so for val and test.

Images are uint8 (N, H, W) or (N, H, W, 3), labels (N, 1) or (N,). An archive is compressed as a
whole, so the images of a split are loaded together, when the first of them is read. An array
`classes`, which MedMNIST has not, names the classes.
"""

import shutil
import threading
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats.base import ExportPlan, Sample
from d3data.images.formats.index import ImageIndex, Role, StoredSplit, array_images, index_images
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
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file knows
_KEYS: dict[Role, str] = {"train": "train", "validation": "val", "test": "test"}


def read(path: Path) -> ImageIndex:
    """An archive, or the only one in a folder."""
    files = [path] if path.is_file() else sorted(path.glob("*.npz"))
    if len(files) != 1:
        raise DataError(
            f"{path} has {len(files)} archives ({some(file.name for file in files)}); give one of "
            "them with --data"
        )
    file = files[0]
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            parts = {part: key for part, key in _KEYS.items() if f"{key}_images" in archive}
            values = {part: _labels(archive[f"{key}_labels"], file) for part, key in parts.items()}
            names = archive.get("classes")
            if names is not None and (names.ndim != 1 or names.dtype.kind != "U"):
                raise ValueError("its array classes is not a list of names")
    except (TypeError, ValueError, KeyError, OSError, zipfile.BadZipFile) as failure:
        raise DataError(
            f"{file} is not an archive of train_images, train_labels, ... ({failure}); "
            "download it again"
        ) from None
    if "train" not in parts:
        raise DataError(f"{file} has no train_images and train_labels")
    stored = {part: _split(file, f"{key}_images", values[part]) for part, key in parts.items()}
    return index_images(stored, None if names is None else names.tolist(), str(file))


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


def _labels(values: NDArray[Any], file: Path) -> NDArray[np.int64]:
    if values.ndim > 2 or (values.ndim == 2 and values.shape[1] != 1):
        raise DataError(f"{file}: images have several labels each; they must have one")
    return values.reshape(-1).astype(np.int64)


def _split(file: Path, key: str, labels: NDArray[np.int64]) -> StoredSplit:
    with zipfile.ZipFile(file) as archive, archive.open(f"{key}.npy") as member:
        info = archive.getinfo(member.name)
        first = np.lib.format.read_magic(member) == (1, 0)
        read_header = np.lib.format.read_array_header_1_0
        shape, _, kind = (read_header if first else np.lib.format.read_array_header_2_0)(member)
    if kind != np.uint8 or len(shape) not in (3, 4) or shape[3:] not in ((), (3,)):
        raise DataError(
            f"{file}: {key} is {kind} of shape {shape}, not uint8 (N, H, W) or (N, H, W, 3)"
        )
    if shape[0] != len(labels):
        raise DataError(f"{file}: {shape[0]} {key} and {len(labels)} labels; download it again")
    lock = threading.Lock()

    @cache
    def load() -> NDArray[np.uint8]:
        with np.load(file, allow_pickle=False) as archive:
            values: NDArray[np.uint8] = archive[key]
            return values

    def locked() -> NDArray[np.uint8]:
        with lock:
            return load()

    identity = digest([f"{key.removesuffix('_images')} {info.file_size} {info.CRC:08x}"])
    return array_images(locked, len(labels), f"{file.name} {key}"), labels, identity
