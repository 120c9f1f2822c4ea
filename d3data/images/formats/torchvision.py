"""Data sets of torchvision that are on this machine already; nothing is downloaded here."""

import inspect
from typing import Any

import numpy as np

from d3data.errors import DataError, nearest
from d3data.images.formats.index import ImageIndex, Images, Role, StoredSplit, index_images
from d3data.utils.hashing import digest

_SPLITS: dict[Role, tuple[str, ...]] = {
    "train": ("train", "trainval"),
    "validation": ("val", "valid"),
    "test": ("test",),
}
_LABELS = ("targets", "labels", "_labels", "_targets", "y")
_SAMPLE = 64  # images whose pixels identify a data set


def read(place: str) -> ImageIndex:
    """The splits of `CLASS:ROOT`, as in `CIFAR10:/data/torchvision`."""
    name, _, root = place.partition(":")
    kind = _kind(name)
    if not root:
        raise DataError(f"torchvision:{place} has no root; write torchvision:{name}:/where/it/is")
    attempts = {part: _split(kind, root, part) for part in _SPLITS}
    datasets = {part: made for part, made in attempts.items() if not isinstance(made, Exception)}
    if "train" not in datasets:
        raise DataError(
            f"torchvision has no {name} at {root} ({attempts['train']}); download it with "
            f"torchvision.datasets.{name}({root!r}, download=True), or give another root"
        )
    names = getattr(datasets["train"], "classes", None)
    stored = {part: _stored(dataset, name, part) for part, dataset in datasets.items()}
    return index_images(stored, [*map(_text, names)] if names else None, f"torchvision:{place}")


def _stored(dataset: Any, name: str, part: Role) -> StoredSplit:
    labels = next((getattr(dataset, key) for key in _LABELS if hasattr(dataset, key)), None)
    if labels is None:
        labels = [dataset[index][1] for index in range(len(dataset))]
    rows = np.linspace(0, len(dataset) - 1, _SAMPLE).astype(int)
    pixels = (dataset[row][0].tobytes() for row in rows.tolist())
    identity = digest([name, str(len(dataset)), *pixels])
    images = Images(
        len(dataset), lambda index: f"{name} {part}[{index}]", lambda index: dataset[index][0]
    )
    return images, np.asarray(labels).astype(np.int64), identity


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


def _split(kind: Any, root: str, part: Role) -> Any:
    """The data set of one split, or why there is none."""
    parameters = inspect.signature(kind).parameters
    choices: list[dict[str, Any]] = [{}] if part == "train" else []
    if "train" in parameters:
        choices = [{"train": part == "train"}] if part != "validation" else []
    elif "split" in parameters:
        choices = [{"split": name} for name in _SPLITS[part]]
    failure: Exception = ValueError(f"it has no {part} split")
    for choice in choices:
        try:
            return kind(root, **choice)
        except (ImportError, OSError, RuntimeError, TypeError, ValueError) as fault:
            failure = fault
    return failure


def _text(name: Any) -> str:
    return name if isinstance(name, str) else ", ".join(name)  # ImageNet has synonyms
