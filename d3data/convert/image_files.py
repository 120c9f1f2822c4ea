"""Reads distilled images as others store them: `.pt` files, NumPy archives, folders."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d3data.convert import torch_files
from d3data.errors import ArtifactError, FormatError
from d3data.images import formats
from d3data.images.preprocessing import GRAY, Preprocessing
from d3data.utils.text import brief

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
    """The images of a folder with a folder for each class, or of a NumPy archive; all are read."""
    index = formats.read(place)
    train = index.splits["train"]
    labels = torch.from_numpy(train.labels)
    if len(labels) == 0 or labels.min() < 0:
        raise FormatError(f"{place} has no images, or images without a label")
    first = train.images.open(0)
    channels, size = 1 if first.mode in GRAY else 3, first.width
    rule = Preprocessing.parse(
        {"channels": channels, "size": size}, where=str(place), error=FormatError
    )
    pixels = [rule(train.images.open(number)) for number in range(len(labels))]
    return StoredImages(torch.stack(pixels), labels, index.classes)


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
    if labels.ndim == 1 and not labels.is_floating_point() and labels.dtype != torch.bool:
        return labels.long()
    require_probabilities(labels, where)
    return labels.float()


def _checked(value: Tensor, where: str) -> Tensor:
    return torch_files.tensor(value, where=where, shape=value.shape, dtype=value.dtype)


def require_probabilities(labels: Tensor, where: str | Path) -> None:
    """Refuse labels (N, K) whose rows are not probabilities."""
    fits = labels.ndim == 2 and labels.is_floating_point() and labels.numel() > 0
    if not fits or labels.min() < 0 or (labels.sum(1) - 1).abs().max() > SUM:
        raise FormatError(
            f"{where}: labels are neither class numbers (N,) nor probabilities (N, K) whose rows "
            "add up to 1; for logits, store the softmax"
        )
