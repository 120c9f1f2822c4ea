"""Roles, digests, stratified cuts and the numbering of labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d3data.errors import DataError
from d3data.images.formats.index import stratified_split
from d3data.images.formats.labels import class_labels
from d3data.images.formats.layout import by_role, role


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train-00000-of-00002.parquet", "train"),
        ("imagenette-validation.parquet", "validation"),
        ("VAL", "validation"),
        ("my_test.tar", "test"),
        ("training", "train"),
        ("trainer", None),
        ("contest", None),
        ("0000.parquet", None),
    ],
)
def test_names_speak_of_splits(name, expected):
    assert role(name) == expected


def test_a_file_belongs_to_the_one_split_that_its_path_speaks_of():
    names = ["train/0.parquet", "train/1.parquet", "a/val/0.parquet", "test.parquet"]
    assert by_role(names, "here") == {
        "train": names[:2], "validation": [names[2]], "test": [names[3]],
    }  # fmt: skip
    assert by_role(["a.parquet", "b.parquet"], "here") == {"train": ["a.parquet", "b.parquet"]}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/test.parquet"], "two splits: train/test.parquet"),
        (["train-0.tar", "extra.tar"], "extra.tar speak of no split"),
        (["train-0.tar", "train_noisy-0.tar"], "train-0.tar, train_noisy-0.tar are each a train"),
        (["data/train.parquet", "train.parquet"], "are each a train split"),
        (["trainval.parquet"], "two splits"),
    ],
)
def test_files_that_are_not_plainly_of_one_split_are_chosen(names, message):
    with pytest.raises(DataError, match=f"{message}.*--split train=NAME"):
        by_role(names, "here")
    (name,) = names[:1]
    assert by_role(names, "here", {"train": name}) == {"train": [name]}


def test_a_choice_of_splits_is_a_pattern_of_paths_or_of_names_in_them():
    names = ["a/part-1.tar", "a/part-2.tar", "b/part-1.tar"]
    assert by_role(names, "x", {"train": "a", "test": "b/*"}) == {
        "train": names[:2], "test": names[2:],
    }  # fmt: skip
    assert by_role(names, "x", {"train": "part-1*"}) == {"train": [names[0], names[2]]}
    with pytest.raises(DataError, match="nothing matches the test split 'c'; there are a, b"):
        by_role(names, "x", {"train": "a", "test": "c"})
    with pytest.raises(DataError, match=r"a/part-1\.tar is chosen as train and test"):
        by_role(names, "x", {"train": "a", "test": "a*"})


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=200),
    fraction=st.floats(0.01, 0.5),
)
def test_a_stratified_cut_is_a_partition_with_the_share_of_every_class(labels, fraction):
    values = np.array(labels)
    kept, cut = stratified_split(values, fraction, seed=3)
    assert sorted([*kept, *cut]) == list(range(len(labels)))
    for label in set(labels):
        assert (values[cut] == label).sum() == max(1, round(fraction * labels.count(label)))


def test_a_stratified_cut_is_fixed_for_ever_and_follows_its_seed():
    labels = np.arange(40) % 2
    assert stratified_split(labels, 0.1, seed=0)[1].tolist() == [2, 3, 11, 20]
    assert stratified_split(labels, 0.1, seed=1)[1].tolist() != [2, 3, 11, 20]


def test_labels_without_names_are_numbered_over_all_splits():
    values = {"train": np.array([7, 3, -1]), "test": np.array([10])}
    classes, labels = class_labels(values, None, "here")
    assert classes == ("3", "7", "10")
    assert labels["train"].tolist() == [1, 0, -1]
    assert labels["test"].tolist() == [2]


def test_text_labels_are_looked_up_and_empty_ones_are_unlabeled():
    values = {"train": np.array(["bee", "", "ant"])}
    assert class_labels(values, None, "here")[1]["train"].tolist() == [1, -1, 0]
    assert class_labels(values, ["bee", "ant"], "here")[1]["train"].tolist() == [0, -1, 1]


def test_labels_without_a_name_are_refused():
    with pytest.raises(DataError, match="label 2, but only 2 class names"):
        class_labels({"train": np.array([0, 2])}, ["a", "b"], "here")
    with pytest.raises(DataError, match="not in its list of classes: cow"):
        class_labels({"train": np.array(["cow"])}, ["ant", "bee"], "here")


def test_names_that_come_twice_are_told_apart_by_number_and_refused_by_name():
    values = {"train": np.array([1, 0, 2])}
    names = ["crane", "ant", "crane"]
    assert class_labels(values, names, "here")[0] == ("crane (0)", "ant", "crane (2)")
    with pytest.raises(DataError, match="'crane' twice"):
        class_labels({"train": np.array(["crane"])}, names, "here")


def test_text_that_is_a_number_is_one_unless_it_is_a_name():
    values = {"train": np.array(["10", "9", "-1", ""])}
    classes, labels = class_labels(values, None, "here")
    assert (classes, labels["train"].tolist()) == (("9", "10"), [1, 0, -1, -1])
    named = {"train": np.array(["10", "9"])}
    assert class_labels(named, ["10", "9"], "here")[1]["train"].tolist() == [0, 1]
    assert class_labels({"train": np.array(["007", "008"])}, None, "here")[0] == ("007", "008")
    with pytest.raises(DataError, match="numbers in one place and text in another"):
        class_labels({"train": np.array([0]), "test": np.array(["ant"])}, None, "here")
