"""Images of an artifact for cards, pages and previews, as uint8; the same in all of them.

Legend: K classes, D draws per class, C H W an image, R chosen classes, T frames.
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from d3data.artifact.artifact import Artifact
from d3data.artifact.drawing import Drawer
from d3data.artifact.manifest import Content
from d3data.images.spec import Image, to_uint8

SEED = 0


@dataclass(frozen=True)
class Draws:
    """The first draws of R classes, in epoch 0 under seed 0: (R, n, C, H, W) uint8 images.

    `items` (R, n) are numbered class after class; `indices` (R, n) is what `data.draw(0, index)`
    calls the draws.
    """

    images: Tensor
    classes: tuple[int, ...]
    items: NDArray[np.int64]
    indices: NDArray[np.int64]


@dataclass(frozen=True)
class Walk:
    """Images on the straight line between two priors, (T, C, H, W) uint8 without noise.

    `ends`: for both ends the class, and the number of the prior within it, counted from 0.
    """

    images: Tensor
    ends: tuple[tuple[int, int], tuple[int, int]]


class Gallery:
    """Draws, means of priors, and walks; whitened values are shown as 0.5 + value / 5."""

    content: Content
    image: Image
    names: tuple[str, ...]

    def __init__(self, artifact: Artifact) -> None:
        self.content = artifact.manifest.content
        self.names, self.image = self.content.classes, self.content.image
        self._drawer = Drawer(
            self.content,
            artifact.sources(),
            seed=SEED,
            draws_per_class=self.content.sampling.draws_per_class,
        )
        shown = self.image
        if shown.whitening is not None:
            channels = shown.channels
            shown = shown.model_copy(update={"mean": (0.5,) * channels, "std": (0.2,) * channels})
        self._pixels = functools.partial(to_uint8, image=shown)

    def draws(self, classes: Sequence[int], count: int) -> Draws:
        """The first `count` draws of each of `classes`, or D where D is less."""
        turns = np.arange(min(count, self._drawer.draws_per_class), dtype=np.int64)
        indices = turns * len(self.names) + np.array(classes, np.int64)[:, None]  # (R, n)
        images = self._drawer.images(0, indices.ravel()).unflatten(0, indices.shape)
        items = self._drawer.items(0, indices.ravel()).reshape(indices.shape)
        return Draws(self._pixels(images), tuple(classes), items, indices)

    def means(self, label: int, count: int) -> Tensor:
        """The images without noise of the first `count` items of a class, uint8."""
        means = self._drawer.mean_latents(self._items(label)[:count])
        return self._pixels(self._drawer.decode(means, residual=False))

    def repeats(self, label: int, count: int) -> Tensor:
        """The images of the first `count` draws of the first item of a class, uint8."""
        turns = np.arange(self._drawer.draws_per_class, dtype=np.int64)
        mine, item = turns * len(self.names) + label, self._items(label)[0]
        pairs: list[tuple[int, int]] = []
        for epoch in itertools.count():
            pairs += [(epoch, n) for n in mine[self._drawer.items(epoch, mine) == item].tolist()]
            if len(pairs) >= count:
                break
        epochs, indices = np.array(pairs[:count], np.int64).T
        return self._pixels(self._drawer.images(epochs, indices))

    def walk(self, label: int, frames: int) -> Walk | None:
        """From the first prior of a class to its farthest, or to one of the next class.

        None if items have no latents, or if this class has the only prior of its part.
        """
        if not self._drawer.random:
            return None
        start, *others = self._items(label)
        others = others or self._neighbors(label)
        if not others:
            return None
        latents = self._drawer.mean_latents([start, *others]).latent  # (n, Z)
        end = others[int((latents[1:] - latents[0]).square().flatten(1).sum(1).argmax())]
        line = self._drawer.line(start, end, frames)
        images = self._pixels(self._drawer.decode(line, residual=False))
        return Walk(images, (self.place(start), self.place(end)))

    def _items(self, label: int) -> list[int]:
        """The items of a class, by number."""
        items: list[int] = np.flatnonzero(self._drawer.item_classes == label).tolist()
        return items

    def _neighbors(self, label: int) -> list[int]:
        """The items of the next class that has the same decoder."""
        (mine,) = (part.classes for part in self.content.parts if label in part.classes)
        return self._items(mine[(mine.index(label) + 1) % len(mine)]) if len(mine) > 1 else []

    def place(self, item: int) -> tuple[int, int]:
        """The class of an item, and its number within that, counted from 0."""
        label = int(self._drawer.item_classes[item])
        return label, item - self._items(label)[0]


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, evenly spread, from the first on.

    >>> spread(10, 4), spread(3, 9)
    ([0, 2, 5, 7], [0, 1, 2])
    """
    chosen = min(count, most)
    return [number * count // chosen for number in range(chosen)]
