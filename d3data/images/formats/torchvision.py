"""Data sets of torchvision that are on this machine already; nothing is downloaded here."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from d3data.errors import DataError, nearest
from d3data.images.formats.index import ImageIndex, Images, StoredSplit, index_images
from d3data.images.formats.labels import plain_labels
from d3data.images.formats.layout import Role, Splits
from d3data.utils.hashing import digest
from d3data.utils.text import some

_SPLITS: dict[Role, tuple[str, ...]] = {
    "train": ("train", "trainval"),
    "validation": ("val", "valid"),
    "test": ("test",),
}
_LABELS = ("targets", "labels", "_labels", "_targets", "y")
_SAMPLE = 64  # images whose pixels identify a data set


def read(
    place: str, wanted: tuple[str, str] | None = None, splits: Splits | None = None
) -> ImageIndex:
    """The splits of `CLASS:ROOT`, as in `CIFAR10:/data/torchvision`, or those that are named."""
    name, _, root = place.partition(":")
    kind = _kind(name)
    if not root:
        raise DataError(f"torchvision:{place} has no root; write torchvision:{name}:/where/it/is")
    if wanted:
        raise DataError(
            f"torchvision:{place} has no columns {some(wanted)}: leave out --columns (columns=...)"
        )
    parameters = inspect.signature(kind).parameters
    if splits and ("train" in parameters or "split" not in parameters):
        raise DataError(f"torchvision:{place} has no splits that could be named: omit splits")
    asked = {part: (splits[part],) for part in splits} if splits else _SPLITS
    attempts = {part: _split(kind, root, part, own) for part, own in asked.items()}
    datasets = {part: made for part, made in attempts.items() if not isinstance(made, Exception)}
    if "train" not in datasets:
        fault = attempts.get("train", "no train split is named")
        raise DataError(
            f"torchvision has no {name} at {root} ({fault}); download it with "
            f"torchvision.datasets.{name}({root!r}, download=True), or give another root"
        )
    stored = {part: _stored(dataset, name, part) for part, dataset in datasets.items()}
    if splits and (lost := {part: it for part, it in attempts.items() if part not in datasets}):
        part, fault = next(iter(lost.items()))
        raise DataError(f"torchvision's {name} has no split {splits[part]!r} ({fault})")
    numbers = all(labels.dtype.kind in "biu" for _, labels, _ in stored.values())
    names = getattr(datasets["train"], "classes", None) if numbers else None
    return index_images(stored, [*map(_text, names)] if names else None, f"torchvision:{place}")


def _stored(dataset: Any, name: str, part: Role) -> StoredSplit:
    try:
        if not len(dataset):
            raise DataError(f"torchvision's {name} has no {part} images there: give another root")
        rows = np.linspace(0, len(dataset) - 1, _SAMPLE).astype(int)
        samples = {row: dataset[row] for row in rows.tolist()}
        labels = _labels(dataset, {row: label for row, (_, label) in samples.items()})
        labels = plain_labels(labels, f"torchvision's {name}")
        pixels = [samples[row][0].tobytes() for row in rows.tolist()]
    except DataError:
        raise
    except Exception as failure:  # of data sets of any kind
        raise DataError(
            f"torchvision's {name} is not read as images with a label each ({failure!r}): "
            "give its images as folders of classes"
        ) from None
    identity = digest([name, str(len(dataset)), *pixels])
    images = Images(
        len(dataset), lambda index: f"{name} {part}[{index}]", lambda index: dataset[index][0]
    )
    return images, labels, identity


def _labels(dataset: Any, samples: Mapping[int, Any]) -> Any:
    """All labels: an attribute that has those of the samples, or else those of all images."""
    for key in _LABELS:
        labels = getattr(dataset, key, None)
        try:
            if labels is not None and len(labels) == len(dataset):
                labels = np.asarray(labels)
                if all(labels[row] == label for row, label in samples.items()):
                    return labels
        except (TypeError, ValueError):  # it is no array, or of another shape
            continue
    return np.asarray([dataset[index][1] for index in range(len(dataset))])


def _kind(name: str) -> Any:
    import torchvision.datasets

    base = torchvision.datasets.VisionDataset
    kinds = {
        key: value
        for key, value in vars(torchvision.datasets).items()
        if inspect.isclass(value) and issubclass(value, base)
    }
    if name not in kinds:
        raise DataError(f"torchvision has no data set {name!r}: {nearest(name, kinds)}")
    return kinds[name]


def _split(kind: Any, root: str, part: Role, names: Iterable[str]) -> Any:
    """The data set of one split, or why there is none."""
    parameters = inspect.signature(kind).parameters
    choices: list[dict[str, Any]] = [{}] if part == "train" else []
    if "train" in parameters:
        choices = [{"train": part == "train"}] if part != "validation" else []
    elif "split" in parameters:
        choices = [{"split": name} for name in names]
    failure: Exception = ValueError(f"it has no {part} split")
    for choice in choices:
        try:
            return kind(root, **choice)
        except Exception as fault:  # torchvision's data sets raise of many kinds
            failure = fault
    return failure


def _text(name: Any) -> str:
    return name if isinstance(name, str) else ", ".join(name)  # ImageNet has synonyms
