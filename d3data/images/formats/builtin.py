"""Images that need no files: scikit-learn's digits, and black ones to plan with."""

import numpy as np
from numpy.typing import NDArray

from d3data.images.formats.index import (
    ImageIndex,
    Images,
    IndexedSplit,
    array_images,
    stratified_split,
)
from d3data.images.formats.layout import Role
from d3data.images.presets import Preset
from d3data.utils.hashing import digest

SEED = 0
TEST = 0.2


def digits() -> ImageIndex:
    """The 1,797 digits (8, 8) of scikit-learn, their 17 grey levels spread over 0..255.

    They have no official split: 20% of each class, chosen by a fixed seed, are the test images.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    pixels = np.rint(source.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    labels = source.target.astype(np.int64)

    def split(name: Role, rows: NDArray[np.int64]) -> IndexedSplit:
        chosen = pixels[rows]
        images = array_images(chosen, len(rows), f"digits {name}")
        return IndexedSplit(images, labels[rows], digest([chosen.tobytes()]))

    train, test = stratified_split(labels, TEST, seed=SEED)
    splits: dict[Role, IndexedSplit] = {
        "train": split("train", train),
        "test": split("test", test),
    }
    return ImageIndex(tuple(str(name) for name in source.target_names), splits, "digits")


def black(preset: Preset) -> ImageIndex:
    """As many black train images as a data set has, spread evenly, and one test image a class."""
    from PIL import Image

    def split(count: int) -> IndexedSplit:
        mode = "L" if preset.channels == 1 else "RGB"
        image = Image.new(mode, (preset.native, preset.native))
        stored = Images(count, lambda index: f"black image {index}", lambda _: image.copy())
        labels = np.arange(count, dtype=np.int64) % preset.classes
        return IndexedSplit(stored, labels, f"{count} black images")

    names = tuple(f"class {label}" for label in range(preset.classes))
    splits: dict[Role, IndexedSplit] = {
        "train": split(preset.images),
        "test": split(preset.classes),
    }
    return ImageIndex(names, splits, "placeholder")
