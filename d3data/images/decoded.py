"""Real images as uint8 pixels: decoded on demand, and kept where they fit.

They are kept in the memory of the device that they are asked for on; what does not fit into memory
may be decoded into files beforehand.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d3data.errors import DataError, RunError
from d3data.images.formats.index import Images, decode_error
from d3data.images.preprocessing import Preprocessing
from d3data.utils.device import device_memory, to_device
from d3data.utils.rng import CPU
from d3data.utils.text import counted, some

SHARE = 8  # a split keeps its decoded images where they fit into 1/8 of the device's memory
_AT_ONCE = 64  # images that a thread decodes before it takes the next lot
PASS = 2048  # images that are decoded before the broken ones among them are reported


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """About `wanted` indices below `count`, in runs of 16, so that few row groups are touched."""
    if count <= wanted:
        return np.arange(count)
    starts = np.linspace(0, count - 16, wanted // 16).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(16))


def unreadable(faults: list[str]) -> DataError:
    """The error that names images which cannot be read."""
    return DataError(
        f"{counted(len(faults), 'image')} cannot be read: {some(faults)}; repair or remove them, "
        "then repeat (`d3data init` lists all such images)"
    )


class DecodedImages:
    """Some rows (M,) of a place's images, brought to the rule; kept if they take `memory` bytes.

    Where they are kept in files, `places` (M,) says where: 0 is the first image of the first one.
    """

    shape: tuple[int, int, int, int]

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
        """The same, read from files that hold all of them."""
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
        for lots in torch.split(work, PASS):
            done = threads.map(fill, torch.split(lots, _AT_ONCE))
            faults = [fault for lot in done for fault in lot]
            if faults:
                raise unreadable(faults)
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

    device: torch.device
    keeps: bool

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
