"""Draws of several sources as one set: the images and labels of (epoch, index).

Legend: B draws, K classes, D draws per class, N items of all parts.
"""

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from d3data.manifest import Content
from d3data.precision import full_precision
from d3data.sources import draws
from d3data.sources.base import Source

CHUNK = 256  # images decoded at a time, which bounds memory whatever the batch


class Drawer:
    """Makes the draws of one artifact: a pure function of (seed, epoch, index).

    Items are numbered class after class, whatever part holds them.

    Attributes:
        items_per_class: (K,) int64.
        item_classes: (N,) int64, ascending.
    """

    def __init__(
        self, content: Content, sources: Sequence[Source], *, seed: int, draws_per_class: int
    ) -> None:
        self.sources, self.image = list(sources), content.image
        self.seed, self.draws_per_class = seed, draws_per_class
        self.items_per_class = np.array(content.items_per_class)
        classes = np.arange(len(self.items_per_class))
        self.item_classes = np.repeat(classes, self.items_per_class)
        self._first = np.cumsum(self.items_per_class) - self.items_per_class
        self._part = np.empty_like(self.item_classes)  # of each item
        self._row = np.empty_like(self.item_classes)  # of each item, within its part
        for number, source in enumerate(self.sources):
            mine = np.flatnonzero(np.isin(self.item_classes, source.classes.numpy(force=True)))
            self._part[mine], self._row[mine] = number, np.arange(len(mine))

    def to(self, device: torch.device) -> "Drawer":
        """The same, decoding on `device`; noise is made on the CPU all the same."""
        moved = copy.copy(self)
        moved.sources = [copy.deepcopy(source).to(device) for source in self.sources]
        return moved

    def __len__(self) -> int:
        """K D, the draws of an epoch."""
        return len(self.items_per_class) * self.draws_per_class

    def items(self, epochs: ArrayLike, indices: ArrayLike) -> NDArray[np.int64]:
        """The item that each draw is made from, (B,)."""
        classes, items = draws.place(
            epochs,
            indices,
            items_per_class=self.items_per_class,
            draws_per_class=self.draws_per_class,
        )
        found: NDArray[np.int64] = self._first[classes] + items
        return found

    def images(self, epochs: ArrayLike, indices: ArrayLike) -> Tensor:
        """(B,), (B,) -> (B, C, H, W) normalised float32 values, unclipped."""
        indices = np.asarray(indices)
        return self._decode(
            self.items(epochs, indices), np.broadcast_to(epochs, indices.shape), indices
        )

    def means(self) -> Tensor:
        """The image without noise of every item, (N, C, H, W) normalised."""
        return self._decode(np.arange(len(self.item_classes)), None, None)

    def soft_labels(self) -> Tensor | None:
        """The label of every item, (N, K) float32, or None where labels are hard."""
        labels = [source.labels for source in self.sources if source.labels is not None]
        if not labels:
            return None
        sizes = np.array([len(label) for label in labels])
        rows = (np.cumsum(sizes) - sizes)[self._part] + self._row
        return torch.cat([label.detach().cpu() for label in labels])[torch.from_numpy(rows)]

    def _decode(
        self,
        items: NDArray[np.int64],
        epochs: NDArray[np.int64] | None,
        indices: NDArray[np.int64] | None,
    ) -> Tensor:
        device = self.sources[0].step_size.device
        out = torch.empty((len(items), *self.image.shape), dtype=torch.float32, device=device)
        with torch.inference_mode(), full_precision(device):
            for number, source in enumerate(self.sources):
                mine = np.flatnonzero(self._part[items] == number)
                for some in np.split(mine, range(CHUNK, len(mine), CHUNK)):
                    rows = torch.from_numpy(self._row[items[some]]).to(device)
                    noise = None
                    if epochs is not None and indices is not None and source.noise_shape:
                        noise = self.noise(epochs[some], indices[some], source).to(device)
                    out[torch.from_numpy(some).to(device)] = source.images(rows, noise)
        return out

    def noise(self, epochs: ArrayLike, indices: ArrayLike, source: Source) -> Tensor:
        """The noise that `source` makes these draws with, (B, *noise_shape)."""
        values = math.prod(source.noise_shape)
        white = torch.from_numpy(draws.noise(self.seed, epochs, indices, values=values))
        return white.reshape(-1, *source.noise_shape)
