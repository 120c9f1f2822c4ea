"""Splits: what is read, what is drawn, what is kept in memory."""

from collections import Counter

import numpy as np
import pytest
import torch

from d3data.errors import DataError
from d3data.images.formats.index import Images
from d3data.images.preprocessing import Preprocessing
from d3data.images.splits import DecodedImages, Split
from pictures import encoded, picture

RULE = Preprocessing(channels=3, size=8, fit="squash")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class Counted(Images):
    """Encoded pictures that count how often each is read; those in `broken` are cut off."""

    def __init__(self, count: int, broken: tuple[int, ...] = ()) -> None:
        super().__init__(count, "image-{}".format, self.counted)
        self.files = [
            encoded(picture(index))[: 40 if index in broken else None] for index in range(count)
        ]
        self.reads: Counter[int] = Counter()

    def counted(self, index: int) -> bytes:
        self.reads[index] += 1
        return self.files[index]


def split(images: Counted, *, classes: int = 3, memory: int = 1 << 20) -> Split:
    gallery = DecodedImages(images, torch.arange(len(images)), RULE, memory=memory)
    labels = torch.arange(len(images)) % classes
    return Split(gallery, labels, classes=classes, mean=MEAN, std=STD)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_reading_is_the_rule_then_normalization_in_the_order_asked(memory):
    found = split(Counted(10), memory=memory)
    order = [7, 2, 2, 9]
    expected = torch.stack([RULE(picture(index)) for index in order])
    assert torch.equal(found.pixels(order), expected)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (MEAN, STD))
    assert torch.allclose(found.read(order).double(), (expected / 255 - mean) / std, atol=1e-6)
    assert found.read(torch.tensor(order)).dtype == torch.float32
    assert found.pixels([]).shape == (0, 3, 8, 8)


def test_only_what_is_asked_for_is_decoded_and_only_once():
    images = Counted(200)
    found = split(images)
    found.pixels([3, 5, 3])
    found.pixels([5, 6])
    assert images.reads == {3: 1, 5: 1, 6: 1}
    found.pixels(range(200))
    assert set(images.reads.values()) == {1}


def test_beyond_its_budget_a_split_keeps_nothing_but_a_small_subtask_does():
    images = Counted(30)
    found = split(images, memory=10 * 3 * 64)
    found.pixels([1, 4])
    found.pixels([1, 4])
    assert images.reads == {1: 2, 4: 2}
    few = found.of([1])  # ten images: these fit
    few.pixels([0])
    few.pixels([0])
    assert images.reads[1] == 3
    assert torch.equal(few.pixels([0, 3]), found.pixels([1, 10]))


def test_a_subtask_shares_what_is_kept():
    images = Counted(30)
    found = split(images)
    found.pixels(range(30))
    found.of([2, 0]).pixels(range(20))
    assert set(images.reads.values()) == {1}


def test_a_subtask_is_relabeled_in_the_order_given():
    found = split(Counted(12), classes=4)
    few = found.of([3, 1])
    assert few.labels.tolist() == [1, 0] * 3
    assert torch.equal(few.pixels(range(6)), found.pixels([1, 3, 5, 7, 9, 11]))
    assert few.counts() == [3, 3]
    again = few.of([1])
    assert torch.equal(again.read([0, 1, 2]), found.read([1, 5, 9]))


@pytest.mark.parametrize("of", [None, 1])
def test_a_batch_is_drawn_without_replacement_and_repeats_with_its_generator(of, rng):
    found = split(Counted(30))
    size = 30 if of is None else 10
    images, labels = found.batch(size, of=of, rng=rng)
    assert len({tuple(image.flatten().tolist()) for image in images}) == size
    assert of is None or labels.tolist() == [1] * 10
    again, relabeled = found.batch(size, of=of, rng=torch.Generator().manual_seed(0))
    assert torch.equal(images, again)
    assert torch.equal(labels, relabeled)
    assert not torch.equal(images, found.batch(size, of=of, rng=rng)[0])


def test_a_batch_larger_than_its_class_repeats_images(rng):
    images, labels = split(Counted(6)).batch(50, of=2, rng=rng)
    assert labels.tolist() == [2] * 50
    assert len({tuple(image.flatten().tolist()) for image in images}) == 2


def test_draws_are_uniform(rng):
    found = split(Counted(12), classes=12)
    seen = torch.cat([found.batch(4, rng=rng)[1] for _ in range(1500)])
    counts = torch.bincount(seen, minlength=12)
    assert (counts - 500).abs().max() < 90  # four standard deviations


def test_a_class_without_images_cannot_be_drawn(rng):
    gallery = DecodedImages(Counted(2), torch.arange(2), RULE)
    found = Split(gallery, torch.zeros(2, dtype=torch.int64), classes=2, mean=MEAN, std=STD)
    with pytest.raises(DataError, match="class 1 has no images"):
        found.batch(1, of=1, rng=rng)


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_broken_images_are_reported_together_by_name_and_never_kept(memory):
    found = split(Counted(200, broken=(3, 77, 150)), memory=memory)
    for _ in range(2):
        with pytest.raises(DataError, match=r"3 images .*image-3 .*image-77 .*image-150 .*init"):
            found.pixels(range(200))
    found.pixels([0, 4])


def test_an_image_that_breaks_the_rule_is_reported_by_name():
    gallery = DecodedImages(
        Counted(2), torch.arange(2), Preprocessing(channels=3, size=8, fit="exact")
    )
    with pytest.raises(DataError, match=r"image-1 .*12x12 pixels where exactly 8x8"):
        gallery.pixels(torch.tensor([1]))


def test_moments_are_those_of_the_pixels():
    images = Counted(40)
    gallery = DecodedImages(images, torch.arange(40), RULE)
    values = gallery.pixels(torch.arange(40)).double() / 255
    mean, std = gallery.moments()
    assert np.allclose(mean, values.mean((0, 2, 3)), atol=5e-5)
    assert np.allclose(std, values.std((0, 2, 3), correction=0), atol=5e-5)


def test_moments_of_a_constant_do_not_divide_by_zero():
    images = Images(3, str, lambda _: picture(0).point(lambda _: 0))
    assert DecodedImages(images, torch.arange(3), RULE).moments() == ((0.0,) * 3, (0.001,) * 3)
