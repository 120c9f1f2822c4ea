"""Sets that are no artifacts: folders of images, ids of `datasets`, anything with samples."""

import inspect
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from d3data.artifact.manifest import NAME
from d3data.data.dataset import DistilledDataset
from d3data.data.load import load
from d3data.errors import DataError
from d3data.evaluation.setup import Draws
from d3data.hub import names
from d3data.images import formats
from d3data.images.formats.index import UNLABELED
from d3data.images.splits import DecodedImages, Split
from d3data.images.tasks import Task
from d3data.utils.text import some

SCHEMES = ("hf:", "torchvision:")


class Samples:
    """Images and labels of a map-style data set, asked for one by one.

    Images are PIL, uint8 tensors (C, H, W) or uint8 arrays (H, W) or (H, W, C), which the task's
    rule brings to its shape and which are normalised; or float tensors (C, H, W), which are taken
    as normalised. A sample is a pair, or has the keys `image` and `label`; one that differs from
    epoch to epoch is asked for in every epoch.
    """

    def __init__(self, data: Any, task: Task) -> None:
        self._data, self._task = data, task

    def __len__(self) -> int:
        """How many images an epoch has."""
        return len(self._data)

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and labels (B,) or (B, K).

        Raises:
            DataError: a sample is no image with a label, or differs from the others in shape.
        """
        images, labels = zip(*map(self._sample, indices.tolist()), strict=True)
        shapes = {
            (*image.shape, *label.shape) for image, label in zip(images, labels, strict=True)
        }
        if len(shapes) > 1:
            raise DataError(
                f"the samples of a {type(self._data).__name__} differ in shape: bring all images "
                "to one size, and all labels to class numbers or probabilities"
            )
        return torch.stack(images).to(device), torch.stack(labels).to(device)

    def _sample(self, index: int) -> tuple[Tensor, Tensor]:
        try:
            sample = self._data[index]
            if isinstance(sample, Mapping):
                sample = sample["image"], sample["label"]
            image, label, *_ = sample
            target = torch.as_tensor(label)
            target = target.float() if target.is_floating_point() else target.long()
            return self._normalized(image), target
        except (TypeError, ValueError, LookupError, RuntimeError) as failure:
            raise DataError(
                f"sample {index} of a {type(self._data).__name__} is no image with a label "
                f"({type(failure).__name__}: {failure}): give pairs (image, label), or "
                "dictionaries with these keys; an image is PIL, uint8, or a float tensor, a label "
                "a class number or probabilities"
            ) from failure

    def _normalized(self, image: Any) -> Tensor:
        if isinstance(image, Tensor) and image.is_floating_point():
            return image.float()
        if isinstance(image, np.ndarray):
            from PIL import Image

            image = Image.fromarray(image)
        return self._task.normalized(self._task.rule(image))


class Pictures:
    """The images of a place, brought to the task's rule, the same in every epoch."""

    def __init__(self, images: Split) -> None:
        self.images = images

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.images)

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and their labels, whatever the epoch."""
        return self.images.read(indices).to(device), self.images.labels[indices].to(device)


def is_place(data: object) -> bool:
    """Whether it names images that are no artifact: `hf:...`, `torchvision:...`, or files."""
    if isinstance(data, str) and data.startswith(SCHEMES):
        return True
    if not isinstance(data, str | Path):
        return False
    wanted = names.parse(data)
    if not isinstance(wanted, names.Folder):
        return False
    return wanted.path.exists() and not (wanted.path / NAME).exists()


def is_distilled(data: object) -> bool:
    """Whether it is a distilled set, or names one."""
    return isinstance(data, DistilledDataset) or (
        isinstance(data, str | Path) and not is_place(data)
    )


def opened(data: Any, task: Task | None) -> Draws:
    """What networks can be trained on.

    Args:
        data: a distilled set, its name or folder; another place of images; what has `batch`; or
            a map-style data set of images and labels.
        task: the real images; needed for all but the first.

    Raises:
        DataError: it is nothing of this, or the task is missing.
    """
    if isinstance(data, str | Path) and not is_place(data):
        return load(data, output="normalised")
    if isinstance(data, DistilledDataset) or _has_batches(data):
        found: Draws = data
        return found
    if task is None:
        raise DataError(
            f"{_called(data)} does not say which real images it was made from: name the task, "
            "evaluate(data, task) or --task NAME"
        )
    if isinstance(data, str | Path):
        return _of_place(data, task)
    if isinstance(data, Sized) and hasattr(data, "__getitem__"):
        return Samples(data, task)
    raise DataError(
        f"a {type(data).__name__} cannot be trained on: give a data set with len and samples "
        "(image, label), or an object with len and batch(epoch, indices, *, device)"
    )


def _of_place(place: str | Path, task: Task) -> Pictures:
    """The train images of a place, whose classes are called as the task's."""
    found = formats.read(place)
    portion = found.splits.get("train") or next(iter(found.splits.values()))
    unknown = sorted({*found.classes} - {*task.classes})
    if unknown:
        raise DataError(
            f"{place} has classes that {task.name} does not have: {some(unknown)}; rename them to "
            f"some of {some(task.classes)}"
        )
    if (portion.labels == UNLABELED).any():
        raise DataError(f"{place}: some images have no label: move them into folders of classes")
    ids = torch.tensor([task.classes.index(name) for name in found.classes])
    gallery = DecodedImages(portion.images, torch.arange(len(portion.labels)), task.rule)
    labels = ids[torch.from_numpy(portion.labels)]
    classes = len(task.classes)
    return Pictures(Split(gallery, labels, classes=classes, mean=task.mean, std=task.std))


def _has_batches(data: object) -> bool:
    """Whether it has the `batch` of draws; that of a `datasets.Dataset` takes no device."""
    try:
        return "device" in inspect.signature(data.batch).parameters  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError):
        return False


def _called(data: object) -> str:
    return str(data) if isinstance(data, str | Path) else f"a {type(data).__name__}"
