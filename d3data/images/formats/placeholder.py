"""Black images in place of a known data set that is not on this machine, to plan with."""

import numpy as np

from d3data.images.formats.index import ImageIndex, Images, IndexedSplit
from d3data.images.presets import Preset


def read(preset: Preset) -> ImageIndex:
    """As many train images as the data set has, spread evenly, and one test image a class."""
    from PIL import Image

    side = (preset.native, preset.native)

    def split(count: int) -> IndexedSplit:
        black = Image.new("L" if preset.channels == 1 else "RGB", side)
        images = Images(count, lambda index: f"black image {index}", lambda _: black.copy())
        labels = np.arange(count, dtype=np.int64) % preset.classes
        return IndexedSplit(images, labels, f"{count} black images")

    classes = tuple(f"class {label}" for label in range(preset.classes))
    return ImageIndex(
        classes, {"train": split(preset.images), "test": split(preset.classes)}, "placeholder"
    )
