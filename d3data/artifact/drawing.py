"""Draws of several sources as one set: the images and labels of (epoch, index).

Legend: B draws, K classes, D draws per class, N items of all parts, Z values of a latent.
"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from d3data.artifact.manifest import Content
from d3data.errors import D3DataError
from d3data.images.spec import Image
from d3data.sources import sampling
from d3data.sources.base import Source
from d3data.utils import checks
from d3data.utils.device import numbered, to_device
from d3data.utils.precision import full_precision

# what is decoded at a time, which bounds memory whatever the batch
CHUNK = 256  # images on a CPU
LARGEST_MAP = (1 << 23) - 1  # float32 values on a CPU, where from 32 MiB on memory is mapped anew
LARGEST_MAP_ON_DEVICE = 1 << 28  # 1 GiB


class Latent(NamedTuple):
    """What one draw, or a batch of them, is decoded from: a residual's noise follows from it.

    Attributes:
        latent: (Z,) or (B, Z) float32, mean + std * noise; the image itself where images are
            stored, (C, H, W) or (B, C, H, W).
        item: () or (B,) int64, what it is a draw of.
        seed: likewise, in two's complement: 2^64 - 1 is -1.
        epoch: likewise.
        draw: likewise, its index within the epoch.
    """

    latent: Tensor
    item: Tensor
    seed: Tensor
    epoch: Tensor
    draw: Tensor

    @classmethod
    def of(cls, fields: "Latent | Mapping[str, Tensor]") -> "Latent":
        """The latent in a sample or a batch of any kind; D3DataError where it has none."""
        if isinstance(fields, Latent):
            return fields
        if isinstance(fields, Mapping) and {*cls._fields} <= {*fields}:
            return cls(*(fields[name] for name in cls._fields))
        raise D3DataError(
            f"a {type(fields).__name__} is not a latent: pass what a set with output='latent' "
            "returns"
        )

    def split(self, size: int) -> list["Latent"]:
        """A batch in pieces of at most `size`; one, also where it is empty."""
        starts = range(0, max(1, len(self.item)), size)
        return [self.take(slice(start, start + size)) for start in starts]

    def take(self, which: slice | Tensor) -> "Latent":
        """Some of a batch."""
        return Latent(*(field[which] for field in self))


class Drawer:
    """Makes the draws of one artifact: a pure function of (seed, epoch, index).

    Items are numbered class after class, whatever part holds them.

    Attributes:
        items_per_class: (K,) int64.
        item_classes: (N,) int64, ascending.
        device: where images are decoded; latents are made on the CPU, which holds `sources`.
    """

    image: Image
    sources: list[Source]
    draws_per_class: int
    seed: int
    items_per_class: NDArray[Any]
    item_classes: NDArray[Any]
    device: torch.device

    def __init__(
        self, content: Content, sources: Sequence[Source], *, seed: int, draws_per_class: int
    ) -> None:
        self.sources, self.image = list(sources), content.image
        self.seed, self.draws_per_class = checks.seed(seed), draws_per_class
        self.items_per_class = np.array(content.items_per_class)
        classes = np.arange(len(self.items_per_class))
        self.item_classes = np.repeat(classes, self.items_per_class)
        self._first = np.cumsum(self.items_per_class) - self.items_per_class
        self._part = np.empty_like(self.item_classes)  # of each item
        self._row = np.empty_like(self.item_classes)  # of each item, within its part
        for number, source in enumerate(self.sources):
            mine = np.flatnonzero(np.isin(self.item_classes, source.classes.numpy()))
            self._part[mine], self._row[mine] = number, np.arange(len(mine))
        self.device = torch.device("cpu")
        self._autocast: torch.dtype | None = None
        self._decoding = [_channels_last(source) for source in self.sources]
        self._at_once = [
            max(1, min(CHUNK, LARGEST_MAP // source.values_per_image)) for source in self.sources
        ]

    def to(
        self, device: torch.device, *, autocast: torch.dtype | None = None, compiled: bool = False
    ) -> "Drawer":
        """The same, decoding on `device`; latents are made on the CPU all the same.

        With `autocast` decoding is not in exact float32; `compiled` decodes with `torch.compile`.
        """
        moved, device = copy.copy(self), numbered(device)
        moved.device, moved._autocast = device, autocast
        moved._decoding = [copy.deepcopy(source).to(device) for source in self.sources]
        if device.type != "cpu":
            moved._at_once = [
                max(1, LARGEST_MAP_ON_DEVICE // source.values_per_image) for source in self.sources
            ]
        for source in moved._decoding if compiled else []:
            source.compile_decoder()
        return moved

    @property
    def random(self) -> bool:
        """Whether another draw of an item is another image."""
        return self.sources[0].noise_values > 0

    def seeded(self, seed: int) -> "Drawer":
        """The same under another seed."""
        other = copy.copy(self)
        other.seed = checks.seed(seed)
        return other

    def __len__(self) -> int:
        """K D, the draws of an epoch."""
        return len(self.items_per_class) * self.draws_per_class

    def items(self, epochs: ArrayLike, indices: ArrayLike) -> NDArray[np.int64]:
        """The item that each draw is made from, (B,)."""
        classes, items = sampling.place(
            epochs,
            indices,
            items_per_class=self.items_per_class,
            draws_per_class=self.draws_per_class,
        )
        found: NDArray[np.int64] = self._first[classes] + items
        return found

    def latents(self, epochs: ArrayLike, indices: ArrayLike) -> Latent:
        """(B,) or one epoch for all, (B,) -> what these draws are decoded from, on the CPU."""
        indices = np.array(indices, np.int64)
        epochs = np.array(np.broadcast_to(epochs, indices.shape), np.int64)
        items, seeds = self.items(epochs, indices), np.full(len(indices), self.seed, np.uint64)
        values = self.sources[0].latent_noise
        noise = sampling.noise(self.seed, epochs, indices, values=values) if values else None
        keys = (items, seeds.view(np.int64), epochs, indices)
        return Latent(self._latents(items, noise), *map(torch.from_numpy, keys))

    def mean_latents(self, items: ArrayLike) -> Latent:
        """(B,) -> the means of these items, to be decoded without residual."""
        numbers = np.array(items, np.int64)
        none = torch.zeros(len(numbers), dtype=torch.int64)
        return Latent(self._latents(numbers, None), torch.from_numpy(numbers), none, none, none)

    def line(self, a: int, b: int, steps: int) -> Latent:
        """`steps` latents at equal distances from the mean of item `a` to that of item `b`.

        D3DataError where nothing is decoded, or not by one decoder.
        """
        if self.sources[0].latent_shape == self.image.shape:
            raise D3DataError("this set stores images and no latents: there is nothing in between")
        if self._part[a] != self._part[b]:
            raise D3DataError(
                f"items {a} and {b} have decoders of their own (parts {self._part[a]} and "
                f"{self._part[b]}): choose two of one part"
            )
        start, end = self.mean_latents([a, b]).latent
        shares = torch.linspace(0, 1, steps).view(-1, *[1] * start.ndim)
        return self.mean_latents([a] * steps)._replace(latent=torch.lerp(start, end, shares))

    def images(self, epochs: ArrayLike, indices: ArrayLike) -> Tensor:
        """(B,), (B,) -> (B, C, H, W) normalised float32 values, unclipped, on the device."""
        return self.decode(self.latents(epochs, indices))

    def decode(self, latent: Latent, *, residual: bool = True) -> Tensor:
        """A batch -> (B, C, H, W) normalised float32 values, unclipped, on the device."""
        parts = self._part[latent.item.numpy(force=True)]
        with torch.no_grad(), self._precision():  # networks train on these: not inference mode
            pieces = self._pieces(parts)
            if not pieces:
                return torch.empty(0, *self.image.shape, device=self.device)
            if len(pieces) == 1:
                return self._render(pieces[0][0], latent, residual)
            size = (len(parts), *self.image.shape)
            out = torch.empty(size, dtype=torch.float32, device=self.device)
            for number, some in pieces:
                images = self._render(number, latent.take(some), residual)
                out[some if isinstance(some, slice) else to_device(some, self.device)] = images
            return out

    def soft_labels(self) -> Tensor | None:
        """The label of every item, (N, K) float32, or None where labels are hard."""
        labels = [source.labels for source in self.sources if source.labels is not None]
        if not labels:
            return None
        sizes = np.array([len(label) for label in labels])
        rows = (np.cumsum(sizes) - sizes)[self._part] + self._row
        return torch.cat([label.detach() for label in labels])[torch.from_numpy(rows)]

    def noise(self, epochs: ArrayLike, indices: ArrayLike, source: Source) -> Tensor:
        """The noise that `source` makes these draws with, (B, noise_values)."""
        values = source.noise_values
        return torch.from_numpy(sampling.noise(self.seed, epochs, indices, values=values))

    def _latents(self, items: NDArray[np.int64], noise: NDArray[np.float32] | None) -> Tensor:
        """(B,), (B, Z) -> (B, *latent_shape); without noise the means."""
        out = torch.empty(len(items), *self.sources[0].latent_shape)
        given = None if noise is None else torch.from_numpy(noise)
        with torch.no_grad():
            for number, mine in _grouped(self._part[items]):
                rows, some = torch.from_numpy(self._row[items[mine]]), torch.from_numpy(mine)
                own = None if given is None else given[some]
                out[some] = self.sources[number].latents(rows, own)
        return out

    def _pieces(self, parts: NDArray[np.int64]) -> list[tuple[int, slice | Tensor]]:
        """What is decoded at a time: the draws of each part, in pieces."""
        pieces: list[tuple[int, slice | Tensor]] = []
        for number, mine in _grouped(parts):
            most = self._at_once[number]
            if len(mine) == len(parts):
                pieces += [(number, slice(at, at + most)) for at in range(0, len(parts), most)]
            else:
                pieces += [(number, some) for some in torch.from_numpy(mine).split(most)]
        return pieces

    def _render(self, number: int, latent: Latent, residual: bool) -> Tensor:
        """(B, C, H, W) of draws that are all of one part."""
        source = self._decoding[number]
        latents = to_device(latent.latent, self.device)
        white = self._white(source, latent) if residual else None
        return source.decode(latents, white).float()

    def _white(self, source: Source, latent: Latent) -> Tensor | None:
        first, values, keys = source.latent_noise, source.white_noise, latent[2:]
        if not values:
            return None
        if self.device.type in ("cpu", "mps"):  # mps has no float64
            arrays = (key.numpy(force=True) for key in keys)
            white = torch.from_numpy(sampling.noise(*arrays, values=values, first=first))
            return to_device(white, self.device)
        return sampling.noise_on(self.device, *keys, values=values, first=first)

    def _precision(self) -> AbstractContextManager[object]:
        if self._autocast is None:
            return full_precision(self.device)
        return torch.autocast(self.device.type, dtype=self._autocast)


def _channels_last(source: Source) -> Source:
    """The same source, with convolutions laid out as they are fastest."""
    for module in source.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(memory_format=torch.channels_last)
    return source


def _grouped(parts: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    """Each part that occurs, and the places where it does."""
    order = np.argsort(parts, kind="stable")
    numbers, starts = np.unique(parts[order], return_index=True)
    return list(zip(numbers.tolist(), np.split(order, starts[1:]), strict=False))  # B may be 0
