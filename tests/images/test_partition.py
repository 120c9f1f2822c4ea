"""How the images of a place become train, validation and test."""

import numpy as np
import pytest

from d3data.errors import DataError
from d3data.images.formats.index import ImageIndex, IndexedSplit, array_images
from d3data.images.splits import fingerprint, partition, spread


def indexed(classes=("ant", "bee"), **splits: list[int]) -> ImageIndex:
    return ImageIndex(
        classes,
        {
            part: IndexedSplit(
                array_images(np.zeros((len(labels), 8, 8), np.uint8), len(labels), part),
                np.array(labels, np.int64),
                f"{part} {len(labels)}",
            )
            for part, labels in splits.items()
        },
        "here",
    )


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


def test_without_a_test_split_validation_is_test():
    assert sizes(indexed(train=TWENTY, validation=[0, 1])) == {
        "train": 27, "validation": 3, "test": 2,
    }  # fmt: skip


def test_with_both_validation_is_what_the_data_say():
    found = indexed(train=TWENTY, validation=[0, 1], test=[0, 0, 1])
    assert sizes(found) == {"train": 30, "validation": 2, "test": 3}


def test_a_preset_may_be_evaluated_on_its_validation_split():
    found = indexed(train=TWENTY, validation=[0, 1], test=[-1, -1, -1])  # as ImageNet's
    assert sizes(found, test="validation") == {"train": 27, "validation": 3, "test": 2}


def test_unlabeled_images_are_refused_by_name():
    with pytest.raises(DataError, match=r"here: 2 images have no label: test\[1\], test\[2\]; m"):
        sizes(indexed(train=TWENTY, test=[0, -1, -1]))


def test_classes_with_too_few_images_are_named_with_their_counts():
    found = indexed(("ant", "bee", "cow"), train=[0, 0, 1], test=[0])
    with pytest.raises(DataError, match=r"too few images in train: bee \(1\), cow \(0\);.* 2, as"):
        sizes(found)
    own = indexed(("ant", "bee"), train=[0, 0, 1], validation=[0], test=[0])
    assert sizes(own)["train"] == 3  # nothing has to be cut


def test_a_place_without_train_or_without_classes_is_refused():
    with pytest.raises(DataError, match="here has no train split"):
        sizes(indexed(test=[0, 1]))
    with pytest.raises(DataError, match="no labelled images: put"):
        sizes(indexed((), train=[]))


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
