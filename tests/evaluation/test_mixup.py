"""Mixing: labels follow the pixels, and a generator repeats."""

import pytest
import torch

from d3data.evaluation.mixup import mixed
from d3data.utils.rng import generator

LABELS = torch.tensor([0, 2, 1, 2])
IMAGES = LABELS[:, None, None, None].float().expand(4, 1, 8, 8).clone()  # each says its class


def mix(name, labels=LABELS, key="a"):
    return mixed(name, IMAGES, labels, classes=3, rng=generator(0, key))


def test_nothing_is_nothing():
    images, labels = mix("none")
    assert images is IMAGES
    assert labels is LABELS


@pytest.mark.parametrize("name", ["cutmix", "mixup"])
def test_labels_are_the_shares_of_the_pixels(name):
    for key in "abcdef":
        images, labels = mix(name, key=key)
        assert labels.shape == (4, 3)
        torch.testing.assert_close(labels.sum(1), torch.ones(4))
        expected = (labels * torch.arange(3.0)).sum(1)
        torch.testing.assert_close(images.mean((1, 2, 3)), expected)


@pytest.mark.parametrize("name", ["cutmix", "mixup"])
def test_a_generator_repeats_and_the_global_one_is_left_alone(name):
    before = torch.get_rng_state()
    one, same, other = mix(name), mix(name), mix(name, key="b")
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one[0], same[0])
    assert not torch.equal(one[0], other[0])


def test_soft_labels_are_mixed_too():
    soft = torch.eye(3)[LABELS]
    for got, expected in zip(mix("mixup", soft), mix("mixup"), strict=True):
        torch.testing.assert_close(got, expected)
