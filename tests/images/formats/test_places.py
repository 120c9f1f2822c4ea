"""What people bring: each kind is read right, or refused with the remedy, and the remedy works."""

import os

import numpy as np
import pyarrow
import pytest

from d3data.errors import DataError
from d3data.images.formats import torchvision as reader
from d3data.images.tasks import load_task
from pictures import image_folder
from places import PETS, PNG, counts, pets, put, samples, shard, table

ALL = {"cat": 3, "dog": 3}


def refused(place, message: str, **how) -> None:
    with pytest.raises(DataError, match=message):
        load_task("x", data=place, **how)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "dev"), {"train", "validation"}),
        (("Train", "TEST"), {"train", "test"}),
        (("trainA", "testA"), {"train", "test"}),
        (("train_images", "val_images"), {"train", "validation"}),
        (("trainset", "testset"), {"train", "test"}),
        (("seg_train/seg_train", "seg_test/seg_test"), {"train", "test"}),
        (("pets/train/train", "pets/test"), {"train", "test"}),
    ],
)
def test_folders_of_splits_are_understood(names, expected, tmp_path):
    place = put(tmp_path, {path: png for name in names for path, png in pets(f"{name}/").items()})
    assert counts(place) == dict.fromkeys(expected, ALL)


@pytest.mark.parametrize(
    ("files", "message", "remedy", "expected"),
    [
        (pets("train/") | pets("extra/", 1), "extra, beside train", {"train": "train"}, ["train"]),
        (pets("train/") | pets("train_noisy/", 1), "train and train_noisy are each a train",
         {"train": "train"}, ["train"]),
        (pets("trainval/") | pets("test/"), "trainval speaks of train and validation",
         {"train": "trainval", "test": "test"}, ["train", "test"]),
        (pets("own/") | pets("holdout/"), "images lie two folders deep", None, None),
        ({f"{k}/{part}/{n}.png": PNG for k in PETS for part in ("train", "test")
          for n in range(3)}, r"splits \(test, train\) lie in those of classes \(cat, dog\)",
         {"train": "train", "test": "test"}, ["train", "test"]),
        ({f"{k}/{part}_{n}.png": PNG for k in PETS for part in ("train", "test")
          for n in range(3)}, "names of the images speak of test and train",
         {"train": "train_*", "test": "test_*"}, ["train", "test"]),
        ({"train-0.parquet": table(["cat", "dog"] * 3), "more.parquet": table(["cat", "dog"])},
         r"more\.parquet speak of no split", {"train": "train-*"}, ["train"]),
        ({"train.parquet": table(["cat", "dog"] * 3), "train_2b.parquet": table(["cat", "dog"])},
         "are each a train split", {"train": "train.parquet"}, ["train"]),
    ],
)  # fmt: skip
def test_what_is_not_plainly_a_split_is_asked_for(files, message, remedy, expected, tmp_path):
    place = put(tmp_path, files)
    refused(place, message)
    if remedy:
        assert counts(place, splits=remedy) == dict.fromkeys(expected, ALL)
        assert load_task("x", data=place, splits=remedy).classes == PETS


def test_one_class_is_refused_unless_it_is_meant(tmp_path):
    place = put(tmp_path, {f"wrapper/{number}.png": PNG for number in range(4)})
    refused(place, "one class only, wrapper: .*--classes 1")
    assert load_task("x", data=place, classes=1).classes == ("wrapper",)
    refused(put(tmp_path / "two", pets()), "has 2 classes .*, where 3 are meant", classes=3)


def test_a_second_image_of_a_sample_is_not_taken_for_the_first(tmp_path):
    members = [
        member
        for n in range(4)
        for member in (
            (f"{n}.png", PNG), (f"{n}.seg.png", b"mask"), (f"{n}.cls", str(n % 2).encode()),
            (f"{n}.txt", PETS[n % 2].encode()),
        )
    ]  # fmt: skip
    place = put(tmp_path, {"0.tar": shard(members)})
    refused(place, "sample 0 has png and seg.png: .*--columns png cls")
    assert load_task("x", data=place, columns=("png", "cls")).classes == ("0", "1")
    task = load_task("x", data=place, columns=("jpg;png", "txt"))
    assert task.classes == PETS
    assert len(task.train) == 2
    refused(place, "labels without an image: 0", columns=("webp", "cls"))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.png", PNG), ("a.cls", b"0"), ("a.png", PNG)], r"two members a\.png"),
        ([("a.png", PNG), ("a.PNG", PNG), ("a.cls", b"0")], r"two members a\.png"),
        ([("a.png", PNG), ("a.cls", b"0"), ("b.png", PNG), ("a.cls", b"1")], r"members a\.cls"),
        ([("a.png", PNG), ("a.txt", b"cat")], "no member cls with labels, only png, txt"),
        ([("a.png", PNG), ("a.cls", b"\xff")], "no UTF-8 text"),
    ],
)
def test_what_comes_twice_in_a_shard_or_not_at_all_is_named(members, message, tmp_path):
    refused(put(tmp_path, {"0.tar": shard(members)}), message)


def test_columns_that_are_not_plain_are_chosen(tmp_path):
    images = pyarrow.array([PNG] * 4)
    place = put(tmp_path / "a", {"t.parquet": table(list("abab"), label="species")})
    refused(place, "no label column among image, species; .*--columns IMAGE LABEL")
    assert load_task("x", data=place, columns=("image", "species")).classes == ("a", "b")
    twice = put(
        tmp_path / "b", {"t.parquet": table(list("abab"), img=images, target=[0, 1, 0, 1])}
    )
    refused(twice, "the image columns image, img")
    refused(twice, "no label column", columns=("img", "Label"))
    assert load_task("x", data=twice, columns=("img", "target")).classes == ("0", "1")
    refused(
        put(tmp_path / "c", pets()), "no columns image, label: omit", columns=("image", "label")
    )


def test_hidden_copies_loops_and_what_lies_twice(tmp_path):
    hidden = put(tmp_path / "a", {n: table([0, 1]) for n in ("t.parquet", ".cache/t.parquet")})
    assert counts(hidden) == {"train": {"0": 1, "1": 1}}
    place = put(tmp_path / "b", pets())
    (place / "cat" / "all").symlink_to("..")
    refused(place, "cat/all is a link to a folder that it lies in")
    (place / "cat" / "all").unlink()
    (place / "eel").symlink_to("dog")
    refused(place, "eel is a link to dog")
    (place / "eel").unlink()
    (place / "dog" / "9.png").symlink_to("../cat/0.png")
    refused(place, "cat/0.png and dog/9.png are one file")
    (place / "dog" / "9.png").unlink()
    os.mkfifo(place / "dog" / "pipe.png")
    assert counts(place) == {"train": ALL}
    (tmp_path / "link").symlink_to(place)
    assert counts(tmp_path / "link") == {"train": ALL}
    (place / os.fsdecode(b"\xff")).mkdir()
    refused(place, r"no UTF-8 text, '\\udcff'")


@pytest.mark.parametrize("name", ["9", "9.png?w=200", "9.jpg_original", "9.ico"])
def test_images_that_are_not_called_so_are_not_left_out_unsaid(name, tmp_path):
    refused(
        put(tmp_path, pets() | {f"cat/{name}": PNG}), f"cat/{name[:1]}.* is an image whose name"
    )


def test_two_formats_in_one_place_are_told(tmp_path):
    files = pets() | {"data/t.parquet": table([0, 1])}
    refused(put(tmp_path, files), r"has 1 \.parquet file, 6 images: give")
    assert counts(tmp_path / "data") == {"train": {"0": 1, "1": 1}}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["cat", "dog", None], {"cat": 1, "dog": 1, "?": 1}),
        ([0, 1, None], {"0": 1, "1": 1, "?": 1}),
        ([0.0, 1.0, float("nan")], {"0": 1, "1": 1, "?": 1}),
        ([True, False, True], {"1": 2, "0": 1}),
        (["10", "9", "9"], {"10": 1, "9": 2}),
        ([[0], [1], []], {"0": 1, "1": 1, "?": 1}),
        ([[0, 1], [1, 0], [0, 1]], {"1": 2, "0": 1}),
        ([b"a", b"b", b"a"], {"a": 2, "b": 1}),
        (pyarrow.array(["a", "b", "a"]).dictionary_encode(), {"a": 2, "b": 1}),
        (pyarrow.array([0, 1, 1], pyarrow.uint8()), {"0": 1, "1": 2}),
    ],
    ids=str,
)
def test_labels_of_any_kind(labels, expected, tmp_path):
    assert counts(put(tmp_path, {"t.parquet": table(labels)})) == {"train": expected}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.2, 0.9], r"labels are float64 such as 0\.2"),
        ([[1, 1], [0, 1]], "several labels each"),
        (np.array([1, 2**63], np.uint64), "labels are uint64"),
        (np.array(["2020-01-01"] * 2, "datetime64[D]"), "integers or text"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, message, tmp_path):
    images = np.zeros((2, 8, 8), np.uint8)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=labels)
    refused(tmp_path / "x.npz", message)


@pytest.mark.parametrize(
    "labels",
    [np.array([[0], [1], [1]], float), np.eye(2)[[0, 1, 1]], np.array(["a", "b", "b"]),
     np.array([b"a", b"b", b"b"])],
)  # fmt: skip
def test_archives_have_the_same_labels(labels, tmp_path):
    images = np.zeros((3, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    found = counts(tmp_path / "x.npz")
    assert [*found["train"].values()] == [1, 2]
    assert found["train"] == found["test"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train_images", "x_train", "train_labels"), "train_images and x_train are both images"),
        (("train_images",), "has no labels of train"),
        (("extra_images", "extra_labels"), "extra_images is not plainly of one split"),
        (("features",), "no train_images and train_labels, only features"),
    ],
)
def test_arrays_that_are_missing_or_twice(names, message, tmp_path):
    np.savez(tmp_path / "x.npz", **dict.fromkeys(names, np.zeros((3, 8, 8), np.uint8)))
    refused(tmp_path, message)


def test_what_has_no_labels_or_no_images_is_left_out(tmp_path):
    names = ["ant", "bee", "cow"]
    files = {"train.parquet": [0, 2] * 4, "test.parquet": [-1, -1]}
    place = put(tmp_path, {name: table(own, names=names) for name, own in files.items()})
    task = load_task("x", data=place)
    assert (task.classes, task.test) == (("ant", "cow"), None)
    assert task.train.counts() == [3, 3]
    tiny = put(tmp_path / "tiny", pets("train/", 4, "images/") | {"test/images/0.png": PNG})
    assert load_task("x", data=tiny).test is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"\x1f\x8b\x08\0\0", "it is compressed; unpack it"),
        (b"just words, nothing else", "it is a text file"),
    ],
)
@pytest.mark.parametrize("name", ["train.parquet", "train.tar", "x.npz", "cat/0.png"])
def test_files_that_are_none_are_told_by_what_they_are(name, content, message, tmp_path):
    others = pets() if name.endswith(".png") else {}
    refused(put(tmp_path, others | {name: content}), message)


def test_labels_of_torchvision_are_those_of_its_samples(tmp_path, monkeypatch):
    import torchvision.datasets

    class Odd(torchvision.datasets.ImageFolder):
        labels = property(lambda self: [0] * len(self))

    class Many(Odd):
        def __getitem__(self, index):
            return super().__getitem__(index)[0], np.ones(4)

    image_folder(tmp_path)
    for kind in (Odd, Many):
        monkeypatch.setattr(torchvision.datasets, kind.__name__, kind, raising=False)
    found = reader.read(f"Odd:{tmp_path}")
    assert found.splits["train"].labels.tolist() == [0] * 4 + [1] * 4
    with pytest.raises(DataError, match="several labels"):
        reader.read(f"Many:{tmp_path}")


def test_shards_of_a_spark_job_are_files_of_a_folder(tmp_path):
    names = ("train.parquet/part-0-a.parquet", "train.parquet/part-1-a.parquet")
    place = put(
        tmp_path, {name: table([0, 1]) for name in names} | {"train.parquet/_SUCCESS": b""}
    )
    assert counts(place) == {"train": {"0": 2, "1": 2}}


def test_names_of_classes_are_those_that_a_set_may_have(tmp_path):
    refused(put(tmp_path, pets() | {"a\nb/0.png": PNG}), "cannot be the name of a class")
    assert counts(put(tmp_path / "s", {"0.tar": samples(4)})) == {"train": {"0": 2, "1": 2}}
