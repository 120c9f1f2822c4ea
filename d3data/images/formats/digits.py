"""The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships: real, and always there.

They have no official split: 20% of each class, chosen by a fixed seed, are the test images.
"""

import numpy as np

from d3data.images.formats.index import (
    ImageIndex,
    IndexedSplit,
    Role,
    array_images,
    stratified_split,
)
from d3data.utils.hashing import digest

SEED = 0
TEST = 0.2


def read() -> ImageIndex:
    """The digits, their 17 grey levels spread over 0..255."""
    from sklearn.datasets import load_digits

    source = load_digits()
    pixels = np.rint(source.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    labels = source.target.astype(np.int64)
    train, test = stratified_split(labels, TEST, seed=SEED)
    rows: dict[Role, np.ndarray] = {"train": train, "test": test}
    splits = {
        name: IndexedSplit(
            array_images(pixels[chosen], len(chosen), f"digits {name}"),
            labels[chosen],
            digest([pixels[chosen].tobytes()]),
        )
        for name, chosen in rows.items()
    }
    return ImageIndex(tuple(str(name) for name in source.target_names), splits, "digits")
