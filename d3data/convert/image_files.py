"""Reads distilled images as others store them: `.pt` files, NumPy archives, folders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from d3data.convert import torch_files
from d3data.convert.labels import LabelKind, read_labels
from d3data.errors import ArtifactError, FormatError
from d3data.images.decoded import DecodedImages
from d3data.images.formats.index import Images, decode_error
from d3data.images.formats.layout import Role
from d3data.images.preprocessing import GRAY, Preprocessing
from d3data.images.training_images import training_images
from d3data.utils.text import brief, some

if TYPE_CHECKING:
    import PIL.Image

PAIRS = (("images", "labels"), ("x", "y"))  # keys of a file with both


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


def read_tensors(
    paths: Sequence[str | Path],
    labels: Sequence[str | Path],
    *,
    index: int = 0,
    kind: LabelKind = "probabilities",
) -> StoredImages:
    """Images out of `.pt` files, and their labels out of them or out of others.

    Read are a tensor of images; a list [images, labels]; a dictionary with `images` and `labels`,
    or `x` and `y`; and what the code of DC, DSA and DM saves, `{"data": [[images, labels], ...]}`
    with the sets of several experiments, of which `index` chooses one.
    """
    require_each_once([*paths, *labels])
    pairs = [_pair(torch_files.read(path), index, path) for path in paths]
    images = [_images(values, path) for (values, _), path in zip(pairs, paths, strict=True)]
    kinds = {(one.dtype, one.shape[1:]) for one in images}
    if len(kinds) > 1:
        raise FormatError(f"{some(map(str, paths))} hold images of different shapes or types")
    own = [one for _, one in pairs if one is not None]
    if bool(own) == bool(labels) or len(own) not in (0, len(pairs)):
        fault = "has labels: omit" if own else "has no labels: give their file with"
        raise ArtifactError(f"{some(map(str, paths))} {fault} --labels (labels=...)")
    values = own or [torch_files.read(path) for path in labels]
    where = some(map(str, labels or paths))
    whole = values[0] if len(values) == 1 else _joined(values, where)
    together = torch.cat(images)
    return StoredImages(together, read_labels(whole, len(together), where, kind=kind))


def require_each_once(paths: Sequence[str | Path]) -> None:
    """Refuse files that are given twice."""
    for one, other in combinations(paths, 2):
        if Path(one).resolve() == Path(other).resolve():
            raise ArtifactError(f"{one} and {other} are the same file: give each once")


def read_number(path: str | Path) -> float:
    """The only number in a `.pt` file, such as a learned step size."""
    value = torch_files.read(path)
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else value
        raise FormatError(f"{path} holds {brief(shape)}, where one number is expected")
    return float(value)


def _joined(values: Sequence[object], where: str) -> Tensor:
    tensors = [one for one in values if isinstance(one, Tensor)]
    if len(tensors) < len(values) or len({(x.ndim, x.shape[1:], x.dtype) for x in tensors}) > 1:
        raise FormatError(f"{where}: their labels are no tensors of one shape and type")
    return torch.cat(tensors)


def read_images(
    place: str | Path,
    *,
    columns: tuple[str, str] | None = None,
    splits: Mapping[Role, str] | None = None,
    white: float | None = None,
) -> StoredImages:
    """All images of a folder, an archive, tables or shards, as `load_task` reads them.

    They are grey only if all of them are.
    """
    found = training_images(place, columns=columns, splits=splits, white=white)
    if found.others:
        raise FormatError(
            f"{place} has train and {some(found.others)}: a distilled set is to train on; if its "
            "train split is meant, say so, `--split train=NAME` (splits={'train': 'NAME'})"
        )
    images, labels = found.rows.images, torch.from_numpy(found.rows.labels)
    if len(labels) == 0:
        raise FormatError(f"{place} has no images in its train split")
    shapes = {(image.size, image.mode in GRAY): row for row, image in _opened(images, place)}
    first, *others = {size: row for (size, _), row in shapes.items()}.items()
    if others:
        (size, row), (other, another) = first, others[0]
        raise FormatError(
            f"{place}: {images.name(row)} has {size[0]}x{size[1]} pixels and "
            f"{images.name(another)} has {other[0]}x{other[1]}: all must have the same size"
        )
    rule = Preprocessing.parse(
        {
            "channels": 1 if all(gray for _, gray in shapes) else 3,
            "size": first[0][0],
            "white": white,
        },
        where=str(place),
        error=FormatError,
    )
    decoded = DecodedImages(images, torch.arange(len(labels)), rule, memory=0)
    return StoredImages(decoded.pixels(torch.arange(len(labels))), labels, found.classes)


def _opened(images: Images, place: str | Path) -> Iterator[tuple[int, "PIL.Image.Image"]]:
    for row in range(len(images)):
        try:
            image = images.open(row)
            frames = getattr(image, "n_frames", 1)
        except Exception as failure:  # decoders raise of every kind
            raise FormatError(f"{place}: {images.name(row)}: {decode_error(failure)}") from None
        if frames > 1:
            raise FormatError(
                f"{place}: {images.name(row)} has {frames} frames or pages: store each as an image"
            )
        yield row, image


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


def _checked(value: Tensor, where: str) -> Tensor:
    return torch_files.tensor(value, where=where, shape=value.shape, dtype=value.dtype)
