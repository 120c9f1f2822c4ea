"""Splits of real images: which images of a place are in them, and their pixels."""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d3data.errors import DataError
from d3data.images.decoded import PASS, DecodedImages, spread, unreadable
from d3data.images.formats.index import ImageIndex, Images, decode_error, stratified_split
from d3data.images.formats.labels import UNLABELED
from d3data.images.formats.layout import CHOOSE, Role
from d3data.images.preprocessing import kind_of
from d3data.images.spec import is_class_name
from d3data.images.whitening import Zca
from d3data.utils.atomic import replacing
from d3data.utils.device import to_device
from d3data.utils.hashing import digest
from d3data.utils.rng import CPU
from d3data.utils.text import brief, counted, some

if TYPE_CHECKING:
    import PIL.Image

SEED = 1  # of the images that are held out


class SplitRows(NamedTuple):
    """The images of one split: which rows (M,) of a place, and their labels (M,)."""

    images: Images
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]

    def shapes(self, wanted: int) -> list[tuple[int, int, str]]:
        """Width, height and kind of about `wanted` images spread over all, from their headers."""
        return [(image.width, image.height, kind_of(image)) for image in self.opened(wanted)]

    def opened(self, wanted: int) -> "Iterator[PIL.Image.Image]":
        """About `wanted` images spread over all, not yet decoded."""
        for row in self.rows[spread(len(self.rows), wanted)].tolist():
            try:
                image = self.images.open(row)
            except Exception as failure:  # decoders raise of every kind
                fault = f"{self.images.name(row)} ({decode_error(failure)})"
                raise unreadable([fault]) from failure
            yield image


def partition(
    index: ImageIndex, *, test: Role, validation: float, classes: int | None = None
) -> dict[Role, SplitRows]:
    """The rows of each split, all with labels, and of every class some to train on.

    `test` is the split to evaluate on; where there is no test split, it is validation. The
    fraction `validation` of train is held out where no validation split is left. There must be
    as many classes as `classes` says, or else two at least.
    """
    indexed = dict(index.splits)
    if "validation" in indexed and ("test" not in indexed or test == "validation"):
        indexed["test"] = indexed.pop("validation")
    require_train(index)
    splits = {
        part: SplitRows(split.images, np.arange(len(split.labels)), split.labels)
        for part, split in indexed.items()
    }
    _check_classes(index, classes)
    for split in splits.values():
        _check_labeled(split, index)
    train = splits["train"]
    hold_out = "validation" not in splits
    _check_counts(train.labels, index, least=2 if hold_out else 1)
    if hold_out:
        kept, held = stratified_split(train.labels, validation, seed=SEED)
        splits["train"] = SplitRows(train.images, kept, train.labels[kept])
        splits["validation"] = SplitRows(train.images, held, train.labels[held])
    return splits


def require_images(index: ImageIndex) -> None:
    """Refuse a place without images."""
    if not any(len(own.labels) for own in index.splits.values()):
        left = "".join(f" ({note})" for note in index.notes if note.startswith("left out"))
        raise DataError(
            f"{index.place} has no images{left}: give folders of images such as PNG and JPEG, or "
            "Parquet, tar or npz files; unpack what is packed otherwise"
        )


def require_train(index: ImageIndex) -> None:
    """Refuse a place of which nothing is to train on."""
    require_images(index)
    there = [part for part, own in index.splits.items() if len(own.labels)]
    if "train" not in there:
        raise DataError(f"{index.place} has no train split but {some(there)}: {CHOOSE}")


def fingerprint(index: ImageIndex, splits: dict[Role, SplitRows], rule: str) -> str:
    """A hex sha256 of classes, data, rows, labels and rule; the same on every machine."""
    data = [f"{part} {index.splits[part].identity}" for part in sorted(index.splits)]
    rows = [
        piece
        for part in sorted(splits)
        for piece in (part, splits[part].rows.tobytes(), splits[part].labels.tobytes())
    ]
    return digest([*index.classes, *data, *rows, rule])


def _check_labeled(split: SplitRows, index: ImageIndex) -> None:
    missing = np.flatnonzero(split.labels == UNLABELED)
    if len(missing):
        names = some(split.images.name(row) for row in missing.tolist())
        raise DataError(
            f"{index.place}: {counted(len(missing), 'image')} without a label: {names}; "
            f"{index.labeling}"
        )


def _check_classes(index: ImageIndex, expected: int | None) -> None:
    names = index.classes
    if not names:
        left = "".join(f" ({note})" for note in index.notes if note.startswith("left out"))
        remedy = "give each a label"
        if not index.spare:
            remedy = (
                "put the images of each class into a folder of their own, named after it, or "
                "their labels into metadata.csv beside them"
            )
        raise DataError(f"{index.place} has no labelled images{left}: {remedy}")
    if wrong := [name for name in names if not is_class_name(name)]:
        raise DataError(
            f"{index.place}: {brief(wrong[0])} cannot be the name of a class: it must have 1 to "
            "200 characters, and none that controls a terminal; rename it"
        )
    if expected is not None and len(names) != expected:
        count = counted(len(names), "class", "classes")
        raise DataError(f"{index.place} has {count} ({some(names)}), where {expected} are meant")
    if expected is None and len(names) == 1:
        raise DataError(
            f"{index.place} has one class only, {names[0]}: give the folder that class folders "
            "lie in; if one is meant, say so, `--classes 1`, or classes = 1 in the recipe's [task]"
        )


def _check_counts(labels: NDArray[np.int64], index: ImageIndex, *, least: int) -> None:
    counts = np.bincount(labels, minlength=len(index.classes))
    few = [f"{index.classes[k]} ({counts[k]})" for k in np.flatnonzero(counts < least)]
    if few:
        raise DataError(
            f"{index.place}: classes with too few images in train: {some(few)}; each needs at "
            f"least {least}{', as one is held out as validation' if least > 1 else ''}"
        )


class Split:
    """Labelled real images of one split; labels (N,) int64, images decoded when asked for."""

    classes: int
    device: torch.device
    labels: Tensor

    def __init__(
        self,
        images: "DecodedImages",
        labels: Tensor,
        *,
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        slots: Tensor | None = None,
        zca: Zca | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.labels, self.classes, self.device = labels, classes, device
        self._decoded, self._images = images, images.on(device)
        self._slots = torch.arange(len(labels)) if slots is None else slots  # (N,) in `images`
        self._all = torch.arange(len(labels))
        counts = torch.bincount(labels, minlength=classes)
        self._members = labels.argsort(stable=True).split(counts.tolist())
        self._moments = mean, std
        self._mean, self._std = (
            to_device(torch.tensor(moment, dtype=torch.float32).view(-1, 1, 1), device)
            for moment in self._moments
        )
        self._zca = zca.on(device) if zca else None
        self._on: dict[torch.device, Split] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> list[int]:
        return [len(members) for members in self._members]

    def pixels(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Images (B,) brought to the task's rule: uint8 (B, C, H, W), on the device.

        Raises:
            DataError: some of them cannot be decoded; it names them.
        """
        return self._images.pixels(self._slots[torch.as_tensor(indices, dtype=torch.int64)])

    def read(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Normalised images, (x / 255 - mean) / std, whitened where the split is so.

        float32 (B, C, H, W), on the device.
        """
        values = self.pixels(indices).float().div_(255).sub_(self._mean).div_(self._std)
        return self._zca(values) if self._zca else values

    @property
    def bytes(self) -> int:
        """What all its decoded images take."""
        return len(self) * prod(self._decoded.shape[1:])

    def choose(self, size: int, *, of: int | None = None, rng: torch.Generator) -> Tensor:
        """Draw indices (B,) uniformly, of one class or of all.

        Without replacement, but with it where there are fewer than `size`.
        """
        members = self._all if of is None else self._members[of]
        if len(members) == 0:
            raise DataError(f"class {of} has no images to draw from")
        if size <= len(members):
            return members[torch.randperm(len(members), generator=rng)[:size]]
        return members[torch.randint(len(members), (size,), generator=rng)]

    def batch(
        self, size: int, *, of: int | None = None, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Normalised images (B, C, H, W) and labels (B,), on the device, of what is chosen."""
        chosen = self.choose(size, of=of, rng=rng)
        return self.read(chosen), to_device(self.labels[chosen], self.device)

    def on(self, device: torch.device) -> "Split":
        """The same images, kept and normalised on a device."""
        if device == self.device:
            return self
        if device not in self._on:
            self._on[device] = self._changed(self._decoded, device=device)
        return self._on[device]

    def store(
        self, indices: range, path: Path, report: Callable[[int], None] = lambda done: None
    ) -> None:
        """Decode some images into a file, a NumPy array uint8 (B, C, H, W), whole or not at all.

        `report` is told how many are done.
        """
        with replacing(path) as temporary, temporary.open("wb") as file:
            shape = (len(indices), *self._decoded.shape[1:])
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for lot in torch.tensor(indices).split(PASS):
                file.write(self._decoded.decoded(self._slots[lot]).numpy().data)
                report(int(lot[-1]) + 1 - indices.start)

    def stored(self, files: Sequence[Path]) -> "Split":
        """The same images, read from files that `store` has written of all of them, in order."""
        return self._changed(self._decoded.stored(files))

    def renormalized(self, mean: Sequence[float], std: Sequence[float]) -> "Split":
        """The same images with another mean and standard deviation per channel."""
        if self._zca is not None:
            raise DataError("whitened images cannot be normalized otherwise: whiten them after")
        return self._changed(self._decoded, moments=(mean, std))

    def whitened(self, zca: Zca) -> "Split":
        """The same images, whitened after they are normalized."""
        return self._changed(self._decoded, zca=zca)

    def of(self, classes: Sequence[int]) -> "Split":
        """The images of some classes, relabelled 0, 1, ... in the order given."""
        new = torch.full((self.classes,), -1)
        new[torch.as_tensor(classes)] = torch.arange(len(classes))
        labels = new[self.labels]
        kept = (labels >= 0).nonzero().flatten()
        images, slots = self._decoded.narrowed(self._slots[kept])
        mean, std = self._moments
        return Split(
            images,
            labels[kept],
            classes=len(classes),
            mean=mean,
            std=std,
            slots=slots,
            zca=self._zca,
            device=self.device,
        )

    def _changed(
        self,
        images: "DecodedImages",
        *,
        moments: tuple[Sequence[float], Sequence[float]] | None = None,
        zca: Zca | None = None,
        device: torch.device | None = None,
    ) -> "Split":
        mean, std = moments or self._moments
        return Split(
            images,
            self.labels,
            classes=self.classes,
            mean=mean,
            std=std,
            slots=self._slots,
            zca=zca or self._zca,
            device=device or self.device,
        )
