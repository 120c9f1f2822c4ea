"""Training data from anything: distilled sets, folders of images, `datasets` ids, samples."""

import inspect
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import NAME
from d3data.data.dataset import DistilledDataset
from d3data.data.load import load
from d3data.errors import DataError
from d3data.evaluation.record import TrainingData
from d3data.hub import names
from d3data.images.class_names import class_ids
from d3data.images.decoded import DecodedImages
from d3data.images.splits import Split
from d3data.images.tasks import Task, load_task
from d3data.images.training_images import training_images
from d3data.utils.device import to_device


class SampleData:
    """Training data from a map-style data set of images and labels.

    Images are PIL, uint8 tensors (C, H, W) or uint8 arrays (H, W) or (H, W, C), which are
    preprocessed and normalized as the task's; or float tensors (C, H, W), which are taken as
    normalized. A sample is a pair, or has the keys `image` and `label`. Samples are read anew in
    every epoch, since they may differ.
    """

    def __init__(self, data: Any, task: Task) -> None:
        self._data, self._task = data, task

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        samples = [self._sample(index) for index in indices.tolist()]
        if len({(*image.shape, *label.shape) for image, label in samples}) > 1:
            raise DataError(
                f"the samples of a {type(self._data).__name__} differ in shape: bring all images "
                "to one size, and all labels to class numbers or probabilities"
            )
        images, labels = zip(*samples, strict=True)
        return to_device(torch.stack(images), device), to_device(torch.stack(labels), device)

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
                f"sample {index} of a {type(self._data).__name__} is not an image with a label "
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


class Photographs:
    """Training data of stored images, the same in every epoch.

    Args:
        images: (N, C, H, W) normalized float32; or a split of real images, decoded when read.
        labels: (N,) int64, or (N, K) probabilities.
        notes: what was taken where there is more.
    """

    images: Tensor | Split
    labels: Tensor
    notes: tuple[str, ...]

    def __init__(
        self, images: Tensor | Split, labels: Tensor, notes: tuple[str, ...] = ()
    ) -> None:
        self.images, self.labels, self.notes = images, labels, notes

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        stored = self.images
        images = stored.on(device).read(indices) if isinstance(stored, Split) else stored[indices]
        return to_device(images, device), to_device(self.labels[indices], device)


def is_fixed(data: TrainingData) -> bool:
    """Whether it is known to have the same images in every epoch."""
    if isinstance(data, DistilledDataset):
        return not data.drawer.random
    return isinstance(data, Photographs)


def is_place(data: object) -> bool:
    """Whether it names images that are no artifact: `hf:...`, `torchvision:...`, or files."""
    if isinstance(data, str) and names.is_images(data):
        return True
    if not isinstance(data, str | Path):
        return False
    path = name.path if isinstance(name := names.parse(data), names.Folder) else None
    return path is not None and path.exists() and not (path / NAME).exists()


def is_distilled(data: object) -> bool:
    """Whether it is a distilled set, or names one."""
    named = isinstance(data, str | Path) and not is_place(data)
    return named or isinstance(data, DistilledDataset | Artifact)


def as_training_data(
    data: Any, task: Task | None, reading: Mapping[str, Any] | None = None
) -> TrainingData:
    """What networks can be trained on; the task is needed unless `data` has batches.

    `data` is a distilled set, an artifact, a name or folder; another place of images, read as
    `reading` says; what has `batch`; or a map-style data set of images and labels.
    """
    if isinstance(data, str | Path) and not is_place(data):
        return load(data, output="normalized")
    if isinstance(data, Artifact):
        return DistilledDataset(data, output="normalized")
    if isinstance(data, DistilledDataset) or _has_batches(data):
        usable: TrainingData = data
        return usable
    if task is None:
        name = str(data) if isinstance(data, str | Path) else f"a {type(data).__name__}"
        raise DataError(
            f"{name} does not say which real images it was made from: name the task, "
            "--task NAME, or evaluate(data, task)"
        )
    if isinstance(data, str | Path):
        return _from_place(data, task, **(reading or {}))
    if isinstance(data, Sized) and hasattr(data, "__getitem__"):
        return SampleData(data, task)
    raise DataError(
        f"a {type(data).__name__} cannot be trained on: give a data set with len and samples "
        "(image, label), or an object with len and batch(epoch, indices, *, device)"
    )


def read_as_given(
    data: Any, task: str, place: str | Path | None, reading: Mapping[str, Any]
) -> Task:
    """Real images by a name or a recipe; `reading` is for them unless `data` is a place."""
    if not is_place(data):
        return load_task(task, data=place, **reading)
    try:
        return load_task(task, data=place)
    except DataError as failure:
        raise DataError(f"{failure}; --task takes such a recipe, x.toml") from None


def _from_place(
    place: str | Path, task: Task, *, white: float | None = None, **reading: Any
) -> Photographs:
    """The train images of a place, whose classes are called as the task's, or numbered."""
    white = white or task.rule.white
    found = training_images(place, white=white, **reading)
    ids = torch.tensor(class_ids(found.classes, task.classes, place, error=DataError))
    rule = task.rule.model_copy(update={"white": white})
    gallery = DecodedImages(found.rows.images, torch.from_numpy(found.rows.rows), rule)
    labels = ids[torch.from_numpy(found.rows.labels)]
    classes = len(task.classes)
    split = Split(gallery, labels, classes=classes, mean=task.mean, std=task.std)
    return Photographs(split, labels, found.notes)


def _has_batches(data: object) -> bool:
    """Whether it has the `batch` of training data; that of a `datasets.Dataset` has no device."""
    try:
        return "device" in inspect.signature(data.batch).parameters  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError):
        return False
