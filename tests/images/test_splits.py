"""Splits: which images are in them, what is read, what is drawn, what is kept in memory."""

import gc
import weakref
from collections import Counter

import numpy as np
import pytest
import torch

from d3data.errors import DataError
from d3data.images.decoded import DecodedImages, spread
from d3data.images.formats.index import ImageIndex, Images, IndexedSplit, array_images
from d3data.images.formats.layout import ROLES
from d3data.images.preprocessing import Preprocessing
from d3data.images.splits import Split, fingerprint, partition
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


def indexed(classes=("ant", "bee"), **splits: list[int]) -> ImageIndex:
    def split(part: str, labels: list[int]) -> IndexedSplit:
        images = array_images(np.zeros((len(labels), 8, 8), np.uint8), len(labels), part)
        return IndexedSplit(images, np.array(labels, np.int64), f"{part} {len(labels)}")

    return ImageIndex(classes, {part: split(part, own) for part, own in splits.items()}, "here")


TWENTY = [0] * 20 + [1] * 10


def sizes(found: ImageIndex, **how) -> dict[str, int]:
    rows = partition(found, **({"test": "test", "validation": 0.1} | how))
    assert all(len(own.rows) == len(own.labels) for own in rows.values())
    return {part: len(own.rows) for part, own in rows.items()}


def test_validation_is_cut_from_train():
    found = indexed(train=TWENTY)
    rows = partition(found, test="test", validation=0.1)
    assert {*rows} == {"train", "validation"}
    assert np.bincount(rows["validation"].labels).tolist() == [2, 1]
    both = np.concatenate([rows["train"].rows, rows["validation"].rows])
    assert sorted(both) == list(range(30))
    for own in rows.values():
        assert np.array_equal(own.labels, np.array(TWENTY)[own.rows])


@pytest.mark.parametrize(
    ("splits", "test", "expected"),
    [
        ({"validation": [0, 1]}, "test", [27, 3, 2]),
        ({"validation": [0, 1], "test": [0, 0, 1]}, "test", [30, 2, 3]),
        ({"validation": [0, 1], "test": [-1]}, "validation", [27, 3, 2]),
    ],
    ids=["validation is test", "both are given", "as of ImageNet"],
)
def test_what_the_data_bring_stays_and_the_rest_is_cut_from_train(splits, test, expected):
    found = sizes(indexed(train=TWENTY, **splits), test=test)
    assert [found[part] for part in ROLES] == expected


@pytest.mark.parametrize(
    ("classes", "splits", "message"),
    [
        (("a", "b"), {"train": TWENTY, "test": [0, -1]}, r"1 image without a label: test\[1\]"),
        (("a", "b", "c"), {"train": [0, 0, 1]}, r"too few .*: b \(1\), c \(0\);.* 2, as"),
        (("a", "b"), {"test": [0, 1]}, "here has no train split"),
        ((), {"train": []}, "no images: give folders"),
    ],
)
def test_places_that_make_no_task_are_refused(classes, splits, message):
    with pytest.raises(DataError, match=message):
        sizes(indexed(classes, **splits))


def test_one_image_of_a_class_is_enough_where_nothing_has_to_be_cut():
    assert sizes(indexed(train=[0, 0, 1], validation=[0], test=[0]))["train"] == 3


def test_the_fingerprint_changes_with_data_labels_split_and_rule():
    def of(found: ImageIndex, rule: str = "rule", validation: float = 0.1) -> str:
        return fingerprint(found, partition(found, test="test", validation=validation), rule)

    base = of(indexed(train=TWENTY))
    assert base == of(indexed(train=TWENTY))
    other = [
        of(indexed(train=[*TWENTY, 1])),
        of(indexed(train=[0] * 19 + [1] * 11)),
        of(indexed(("ant", "cow"), train=TWENTY)),
        of(indexed(train=TWENTY, test=[0])),
        of(indexed(train=TWENTY), "another rule"),
        of(indexed(train=TWENTY), validation=0.2),
    ]
    assert len({base, *other}) == 7


@pytest.mark.parametrize(("count", "wanted"), [(5, 16), (16, 16), (1000, 64), (40, 32)])
def test_a_spread_reaches_from_the_first_to_the_last(count, wanted):
    found = spread(count, wanted)
    assert len(found) == min(count, wanted)
    assert (found[0], found[-1]) == (0, count - 1)
    assert np.all(np.diff(found) > 0)


def test_images_on_a_device_go_with_their_last_user():
    images = DecodedImages(Counted(4), torch.arange(4), RULE)
    found = Split(images, torch.arange(4) % 2, classes=2, mean=[0.0] * 3, std=[1.0] * 3)
    narrowed = found.of([1]).on(torch.device("meta"))
    gone = weakref.ref(narrowed._images)
    gc.disable()
    try:
        del narrowed, found, images
        assert gone() is None
    finally:
        gc.enable()
