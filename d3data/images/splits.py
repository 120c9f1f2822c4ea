"""Splits of real images: which images of a place are in them, and their pixels.

Images are decoded on demand, and kept as uint8 in the memory of the device that they are asked
for on, where they fit there; what does not fit into memory may be decoded into files beforehand.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d3data.errors import DataError, RunError
from d3data.images.formats.index import ImageIndex, Images, decode_error, stratified_split
from d3data.images.formats.labels import UNLABELED
from d3data.images.formats.layout import CHOOSE, Role
from d3data.images.preprocessing import Preprocessing, kind_of
from d3data.images.spec import is_class_name
from d3data.utils.atomic import replacing
from d3data.utils.device import device_memory, to_device
from d3data.utils.hashing import digest
from d3data.utils.rng import CPU
from d3data.utils.text import brief, counted, some

if TYPE_CHECKING:
    import PIL.Image

SEED = 1  # of the images that are held out
SHARE = 8  # a split keeps its decoded images where they fit into 1/8 of the device's memory

_AT_ONCE = 64  # images that a thread decodes before it takes the next lot
_PASS = 2048  # images that are decoded before the broken ones among them are reported


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
                raise _unreadable([fault]) from failure
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
    if "train" not in indexed:
        there = f" but {some(index.splits)}" if index.splits else ""
        raise DataError(f"{index.place} has no train split{there}: {CHOOSE}")
    splits = {
        part: SplitRows(split.images, np.arange(len(split.labels)), split.labels)
        for part, split in indexed.items()
    }
    _check_classes(index, classes)
    for split in splits.values():
        _check_labeled(split, index.place)
    train = splits["train"]
    hold_out = "validation" not in splits
    _check_counts(train.labels, index, least=2 if hold_out else 1)
    if hold_out:
        kept, held = stratified_split(train.labels, validation, seed=SEED)
        splits["train"] = SplitRows(train.images, kept, train.labels[kept])
        splits["validation"] = SplitRows(train.images, held, train.labels[held])
    return splits


def fingerprint(index: ImageIndex, splits: dict[Role, SplitRows], rule: str) -> str:
    """A hex sha256 of classes, data, rows, labels and rule; the same on every machine."""
    data = [f"{part} {index.splits[part].identity}" for part in sorted(index.splits)]
    rows = [
        piece
        for part in sorted(splits)
        for piece in (part, splits[part].rows.tobytes(), splits[part].labels.tobytes())
    ]
    return digest([*index.classes, *data, *rows, rule])


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """About `wanted` indices below `count`, in runs of 16, so that few row groups are touched."""
    if count <= wanted:
        return np.arange(count)
    starts = np.linspace(0, count - 16, wanted // 16).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(16))


def _check_labeled(split: SplitRows, place: str) -> None:
    missing = np.flatnonzero(split.labels == UNLABELED)
    if len(missing):
        names = some(split.images.name(row) for row in missing.tolist())
        raise DataError(
            f"{place}: {counted(len(missing), 'image')} without a label: {names}; move each into "
            "the folder of its class, give it a label, or remove it"
        )


def _check_classes(index: ImageIndex, expected: int | None) -> None:
    names = index.classes
    if not names:
        left = "".join(f" ({note})" for note in index.notes if note.startswith("left out"))
        raise DataError(
            f"{index.place} has no labelled images{left}: put the images of each class into a "
            "folder of their own, named after the class"
        )
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
            "lie in; if one is meant, say so, `d3data init --classes 1`, or classes = 1 in the "
            "recipe's [task]"
        )


def _check_counts(labels: NDArray[np.int64], index: ImageIndex, *, least: int) -> None:
    counts = np.bincount(labels, minlength=len(index.classes))
    few = [f"{index.classes[k]} ({counts[k]})" for k in np.flatnonzero(counts < least)]
    if few:
        raise DataError(
            f"{index.place}: classes with too few images in train: {some(few)}; each needs at "
            f"least {least}{', as one is held out as validation' if least > 1 else ''}"
        )


def _unreadable(faults: list[str]) -> DataError:
    return DataError(
        f"{counted(len(faults), 'image')} cannot be read: {some(faults)}; repair or remove them, "
        "then repeat (`d3data init` lists all such images)"
    )


class Split:
    """Labelled real images of one split; labels (N,) int64, images decoded when asked for."""

    def __init__(
        self,
        images: "DecodedImages",
        labels: Tensor,
        *,
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        slots: Tensor | None = None,
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
        """Normalised images, (x / 255 - mean) / std: float32 (B, C, H, W), on the device."""
        return self.pixels(indices).float().div_(255).sub_(self._mean).div_(self._std)

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
            for lot in torch.tensor(indices).split(_PASS):
                file.write(self._decoded.decoded(self._slots[lot]).numpy().data)
                report(int(lot[-1]) + 1 - indices.start)

    def stored(self, files: Sequence[Path]) -> "Split":
        """The same images, read from files that `store` has written of all of them, in order."""
        return self._changed(self._decoded.stored(files))

    def renormalized(self, mean: Sequence[float], std: Sequence[float]) -> "Split":
        """The same images with another mean and standard deviation per channel."""
        return self._changed(self._decoded, moments=(mean, std))

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
            device=self.device,
        )

    def _changed(
        self,
        images: "DecodedImages",
        *,
        moments: tuple[Sequence[float], Sequence[float]] | None = None,
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
            device=device or self.device,
        )


class DecodedImages:
    """Some rows (M,) of a place's images, brought to the rule; kept if they take `memory` bytes.

    Where they are kept in files, `places` (M,) says where: 0 is the first image of the first one.
    """

    def __init__(
        self,
        images: Images,
        rows: Tensor,
        rule: Preprocessing,
        *,
        memory: int | None = None,
        files: Sequence[Path] = (),
        places: Tensor | None = None,
    ) -> None:
        self._images, self._rows, self._rule, self._memory = images, rows, rule, memory
        self._files, self._places = files, torch.arange(len(rows)) if places is None else places
        self.shape = (len(rows), rule.channels, rule.size, rule.size)
        make = partial(decode, images, rows, rule)
        if files:
            make = partial(look_up, [*map(stored_images, files)], self._places)
        keep = not files and fits(self.shape, CPU, memory)
        self._kept = KeptImages(make, self.shape, keep=keep)
        self._on: dict[torch.device, KeptImages] = {CPU: self._kept}

    def pixels(self, slots: Tensor) -> Tensor:
        """Images by slot (B,) of 0..M-1: uint8 (B, C, H, W)."""
        return self._kept.pixels(slots)

    def decoded(self, slots: Tensor) -> Tensor:
        """The same, decoded now."""
        return decode(self._images, self._rows, self._rule, slots)

    def on(self, device: torch.device) -> "KeptImages":
        """The same on a device, where they are kept, if they fit, for all who ask for them."""
        if device not in self._on:
            keep = fits(self.shape, device)
            kept = KeptImages(self._kept.pixels, self.shape, keep=keep, device=device)
            self._on[device] = kept  # which does not hold this object: both go with the last user
        return self._on[device]

    def narrowed(self, slots: Tensor) -> "tuple[DecodedImages, Tensor]":
        """The images of some slots, and their slots there: `self` where it keeps its images."""
        if self._kept.keeps:
            return self, slots
        fewer = DecodedImages(
            self._images,
            self._rows[slots],
            self._rule,
            memory=self._memory,
            files=self._files,
            places=self._places[slots],
        )
        return fewer, torch.arange(len(slots))

    def stored(self, files: Sequence[Path]) -> "DecodedImages":
        return DecodedImages(self._images, self._rows, self._rule, files=files)

    def moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel, of pixels in [0, 1], to four decimals.

        Over images spread evenly, 2^22 pixels' worth and at least 256; by counting grey levels,
        hence the same on every machine.
        """
        slots = torch.from_numpy(spread(len(self._rows), max(256, 2**22 // self._rule.size**2)))
        levels = torch.zeros(self._rule.channels, 256, dtype=torch.float64)
        for part in torch.split(slots, 128):
            for channel, values in enumerate(self.pixels(part).transpose(0, 1)):
                levels[channel] += torch.bincount(values.flatten(), minlength=256)
        share = levels / levels.sum(1, keepdim=True)
        value = torch.arange(256, dtype=torch.float64) / 255
        mean = share @ value
        std = (share @ value**2 - mean**2).clamp(min=1e-6).sqrt()
        rounded = [tuple(round(number, 4) for number in row.tolist()) for row in (mean, std)]
        return rounded[0], rounded[1]


def look_up(parts: Sequence[NDArray[np.uint8]], places: Tensor, slots: Tensor) -> Tensor:
    """Images by slot (B,), out of arrays (n, C, H, W) that hold one after the other."""
    out = np.empty((len(slots), *parts[0].shape[1:]), np.uint8)
    ends, wanted = np.cumsum([len(part) for part in parts]), places[slots].numpy()
    owners = np.searchsorted(ends, wanted, side="right")
    for owner in np.unique(owners):
        here, first = np.flatnonzero(owners == owner), ends[owner] - len(parts[owner])
        out[here] = parts[owner][wanted[here] - first]
    return torch.from_numpy(out)


def decode(images: Images, rows: Tensor, rule: Preprocessing, slots: Tensor) -> Tensor:
    """Images by slot (B,) of `rows`, decoded in the order in which they are stored."""
    out = torch.empty(len(slots), rule.channels, rule.size, rule.size, dtype=torch.uint8)
    chosen = rows[slots]
    work = torch.stack([chosen, torch.arange(len(slots))], dim=1)[chosen.argsort()]
    fill = partial(_fill, images, rule, out)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for lots in torch.split(work, _PASS):
            done = threads.map(fill, torch.split(lots, _AT_ONCE))
            faults = [fault for lot in done for fault in lot]
            if faults:
                raise _unreadable(faults)
    return out


def _fill(images: Images, rule: Preprocessing, out: Tensor, lot: Tensor) -> list[str]:
    faults = []
    for row, place in lot.tolist():
        try:
            out[place] = rule(images.open(row))
        except Exception as failure:  # decoders raise of every kind; all of it is reported
            faults.append(f"{images.name(row)} ({decode_error(failure)})")
    return faults


def stored_images(path: Path) -> NDArray[np.uint8]:
    """What `Split.store` has written, mapped; RunError where it is not whole."""
    try:
        array: NDArray[np.uint8] = np.load(path, mmap_mode="r")
        return array
    except (OSError, ValueError) as failure:
        raise RunError(f"{path} is broken ({failure}): delete it and repeat") from None


class KeptImages:
    """Images (M, C, H, W) that `make` returns by their slots: on a device, kept there or not."""

    def __init__(
        self,
        make: Callable[[Tensor], Tensor],
        shape: tuple[int, ...],
        *,
        keep: bool,
        device: torch.device = CPU,
    ) -> None:
        self._make, self.device, self.keeps = make, device, keep
        self._shape, self._ready = shape, torch.zeros(shape[0], dtype=torch.bool)
        self._kept: Tensor | None = None  # memory of a device is taken when it is needed

    def pixels(self, slots: Tensor) -> Tensor:
        """Images by slot (B,), of the CPU: uint8 (B, C, H, W), on the device."""
        if not self.keeps:
            return to_device(self._make(slots), self.device)
        if self._kept is None:
            self._kept = torch.empty(self._shape, dtype=torch.uint8, device=self.device)
        missing = slots[~self._ready[slots]]
        if len(missing):
            missing = torch.from_numpy(np.unique(missing.numpy()))
            made = to_device(self._make(missing), self.device)
            self._kept[to_device(missing, self.device)] = made
            self._ready[missing] = True
        return self._kept[to_device(slots, self.device)]


def fits(shape: tuple[int, ...], device: torch.device, memory: int | None = None) -> bool:
    """Whether uint8 images take at most `memory` bytes, or an eighth of the device's memory."""
    if device.type == "meta":
        return False
    return prod(shape) <= (device_memory(device) // SHARE if memory is None else memory)
