"""The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships: real, and always there.

They have no official split: 20% of each class, chosen by a fixed seed, are the test images.
"""

import numpy as np

from d3data.images.formats.index import Arrays, Collection, Portion, Role, stratified
from d3data.utils.hashing import digest

SEED = 0
TEST = 0.2


def read() -> Collection:
    """The digits, their 17 grey levels spread over 0..255."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.rint(found.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    labels = found.target.astype(np.int64)
    train, test = stratified(labels, TEST, seed=SEED)
    rows: dict[Role, np.ndarray] = {"train": train, "test": test}
    portions = {
        name: Portion(
            Arrays(pixels[chosen], f"digits {name}"),
            labels[chosen],
            digest([pixels[chosen].tobytes()]),
        )
        for name, chosen in rows.items()
    }
    return Collection(tuple(str(name) for name in found.target_names), portions, "digits")
