"""Reads distilled images as others store them: `.pt` files, NumPy archives, folders."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from d3data.convert import torch_files
from d3data.errors import ArtifactError, FormatError
from d3data.images import formats
from d3data.images.formats.index import Images, decode_error
from d3data.images.preprocessing import GRAY, Preprocessing
from d3data.images.splits import DecodedImages
from d3data.utils.text import brief

if TYPE_CHECKING:
    import PIL.Image

PAIRS = (("images", "labels"), ("x", "y"))  # keys of a file with both
SUM = 1e-3  # how far a soft label may be from adding up to 1


@dataclass(frozen=True)
class StoredImages:
    """Images (N, C, H, W), uint8 or float32 values of some normalisation, and their labels.

    `labels` is (N,) int64 classes or (N, K) float32 probabilities; `classes` are the names that
    go with them, where the files say them.
    """

    values: Tensor
    labels: Tensor
    classes: tuple[str, ...] | None = None

    @property
    def kinds(self) -> Tensor:
        """(N,) the class of each image: of a soft label, the likeliest."""
        return self.labels if self.labels.ndim == 1 else self.labels.argmax(1)


def read_tensors(path: str | Path, labels: str | Path | None, *, index: int) -> StoredImages:
    """Images out of a `.pt` file, and their labels out of it or out of another.

    Read are a tensor of images; a list [images, labels]; a dictionary with `images` and `labels`,
    or `x` and `y`; and what the code of DC, DSA and DM saves, `{"data": [[images, labels], ...]}`
    with the sets of several experiments, of which `index` chooses one.
    """
    values, own = _pair(torch_files.read(path), index, path)
    if (own is None) == (labels is None):
        fault = "has no labels: give their file with" if own is None else "has labels: omit"
        raise ArtifactError(f"{path} {fault} --labels (labels=...)")
    where = str(path if labels is None else labels)
    images = _images(values, path)
    stored = own if labels is None else torch_files.read(labels)
    return StoredImages(images, _labels(stored, len(images), where))


def read_images(place: str | Path) -> StoredImages:
    """The images of a folder with a folder for each class, or of a NumPy archive; all are read.

    They are grey only if all of them are.
    """
    index = formats.read(place)
    if [*index.splits] != ["train"]:
        raise FormatError(
            f"{place} has {' and '.join(index.splits)}: a distilled set is to train on; give the "
            "folder or archive that has these images alone"
        )
    images, labels = index.splits["train"].images, torch.from_numpy(index.splits["train"].labels)
    if len(labels) == 0 or labels.min() < 0:
        raise FormatError(f"{place} has no images, or images without a label")
    shapes = {(image.size, image.mode in GRAY): row for row, image in _opened(images, place)}
    first, *others = {size: row for (size, _), row in shapes.items()}.items()
    if others:
        (size, row), (other, another) = first, others[0]
        raise FormatError(
            f"{place}: {images.name(row)} has {size[0]}x{size[1]} pixels and "
            f"{images.name(another)} has {other[0]}x{other[1]}: all must have the same size"
        )
    rule = Preprocessing.parse(
        {"channels": 1 if all(gray for _, gray in shapes) else 3, "size": first[0][0]},
        where=str(place),
        error=FormatError,
    )
    decoded = DecodedImages(images, torch.arange(len(labels)), rule, memory=0)
    return StoredImages(decoded.pixels(torch.arange(len(labels))), labels, index.classes)


def _opened(images: Images, place: str | Path) -> Iterator[tuple[int, "PIL.Image.Image"]]:
    for row in range(len(images)):
        try:
            yield row, images.open(row)
        except Exception as failure:  # decoders raise of every kind
            raise FormatError(f"{place}: {images.name(row)}: {decode_error(failure)}") from None


def _pair(content: Any, index: int, path: str | Path) -> tuple[object, object]:
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        sets = content["data"]
        if not 0 <= index < len(sets):
            raise ArtifactError(
                f"{path} has {len(sets)} experiments: --index must be from 0 to {len(sets) - 1}, "
                f"got {index}"
            )
        content = sets[index]
    if isinstance(content, dict):
        for images, labels in PAIRS:
            if images in content:
                return content[images], content.get(labels)
        raise FormatError(
            f"{path} has the keys {brief([*islice(content, 4)])}, but no 'images' or 'x'"
        )
    if isinstance(content, list | tuple):
        if len(content) != 2:
            raise FormatError(f"{path} has a list of {len(content)}, expected [images, labels]")
        return content[0], content[1]
    return content, None


def _images(value: object, path: str | Path) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim != 4 or 0 in value.shape:
        raise FormatError(f"{path}: its images are not a tensor (N, C, H, W)")
    if value.shape[1] not in (1, 3) or value.shape[2] != value.shape[3]:
        raise FormatError(
            f"{path}: images have shape {brief(tuple(value.shape[1:]))}, expected squares of one "
            "or three channels"
        )
    if value.dtype != torch.uint8 and not value.is_floating_point():
        raise FormatError(f"{path}: images are {value.dtype}, expected uint8 or floats")
    images = _checked(value, f"{path}: images")
    return images if images.dtype == torch.uint8 else images.float()


def _labels(value: object, count: int, where: str) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim not in (1, 2) or len(value) != count:
        shape = tuple(value.shape) if isinstance(value, Tensor) else value
        raise FormatError(f"{where}: labels are {brief(shape)} for {count} images")
    labels = _checked(value, f"{where}: labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = _whole(labels[:, 0], where)
    elif labels.ndim == 2 and not labels.is_floating_point() and labels.numel():
        labels = _class_of_one_hot(labels, where)
    if labels.ndim == 1 and not labels.is_floating_point() and labels.dtype != torch.bool:
        return labels.long()
    require_probabilities(labels, where)
    return labels.float()


def _whole(labels: Tensor, where: str) -> Tensor:
    """Class numbers that may be stored as floats."""
    if (labels != labels.round()).any():
        raise FormatError(f"{where}: labels (N, 1) such as {float(labels[0]):.4g} are no classes")
    return labels.long()


def _class_of_one_hot(labels: Tensor, where: str) -> Tensor:
    whole = labels.long()
    if ((whole != 0) & (whole != 1)).any() or (whole.sum(1) != 1).any():
        raise FormatError(
            f"{where}: labels {brief(tuple(labels.shape))} of whole numbers are not one-hot; "
            "store class numbers (N,), or probabilities (N, K)"
        )
    return whole.argmax(1)


def _checked(value: Tensor, where: str) -> Tensor:
    return torch_files.tensor(value, where=where, shape=value.shape, dtype=value.dtype)


def require_probabilities(labels: Tensor, where: str | Path) -> None:
    """Refuse labels (N, K) whose rows are not probabilities."""
    if labels.ndim != 2 or labels.numel() == 0 or not labels.is_floating_point():
        raise FormatError(
            f"{where}: labels are {labels.dtype} {brief(tuple(labels.shape))}, neither class "
            "numbers (N,) nor probabilities (N, K)"
        )
    if labels.min() < 0 or (labels.sum(1) - 1).abs().max() > SUM:
        raise FormatError(
            f"{where}: labels are neither class numbers (N,) nor probabilities (N, K) whose rows "
            "add up to 1; for logits, store the softmax"
        )
