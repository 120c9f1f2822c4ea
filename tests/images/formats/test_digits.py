"""The digits that are always there."""

import numpy as np
from sklearn.datasets import load_digits

from d3data.images.formats import builtin


def test_the_split_is_stratified_whole_and_without_overlap():
    found = builtin.digits()
    train, test = found.splits["train"], found.splits["test"]
    assert (len(train.labels), len(test.labels)) == (1438, 359)
    images = [s.images.open(n) for s in (train, test) for n in range(len(s.labels))]
    both = np.stack([np.array(image) for image in images])
    assert both.astype(int).sum() == np.rint(load_digits().images * 255 / 16).sum()
    shares = np.bincount(test.labels) / np.bincount(load_digits().target)
    assert np.all(abs(shares - 0.2) < 0.005)


def test_pixels_are_the_original_gray_levels():
    image = np.array(builtin.digits().splits["train"].images.open(0))
    assert image.shape == (8, 8)
    assert {*image.ravel()} <= {round(level * 255 / 16) for level in range(17)}
