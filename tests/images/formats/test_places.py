"""What people bring: each kind is read right, or refused with the remedy, and the remedy works."""

import os
import tarfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from d3data.errors import DataError
from d3data.images import formats
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
    refused(place, "no sample has a member webp; .*--columns png cls", columns=("webp", "cls"))


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


def test_masks_that_are_samples_of_their_own_are_not_images(tmp_path):
    images = [("0.png", PNG), ("0.cls", b"0"), ("1.png", PNG), ("1.cls", b"1")]
    masks = [(name.replace(".png", ".mask.png"), content) for name, content in images]
    place = put(tmp_path, {"a-0.tar": shard(images), "a-1.tar": shard(masks)})
    refused(place, "images of some samples are mask.png and of others png: .*--columns png cls")
    index = formats.read(place, columns=("png", "cls"))
    assert len(index.splits["train"].labels) == 2
    assert "left out: 2 labels of samples without png" in "".join(index.notes)
    assert counts(put(tmp_path / "m", {"0.tar": shard(masks)})) == {"train": {"0": 1, "1": 1}}


def test_what_a_shard_hides_is_left_out_and_said_and_links_are_refused(tmp_path):
    hidden = ["__MACOSX/0.png", ".git/0.png", "a/.b/0.png", "./__x/0.png", ".0.png"]
    members = [("0.png", PNG), ("0.cls", b"0"), ("1.png", PNG), ("1.cls", b"1"), ("README", b"x"),
               ("0.json", b"{}"), *((name, PNG) for name in hidden)]  # fmt: skip
    place = put(tmp_path, {"0.tar": shard(members)})
    index = formats.read(place)
    assert len(index.splits["train"].labels) == 2
    assert "members: cls, png; not json; left out: 5 hidden, 1 without a suffix" in index.notes
    (tmp_path / "0.png").write_bytes(PNG)
    (tmp_path / "1.png").symlink_to("0.png")
    (tmp_path / "2.png").hardlink_to(tmp_path / "0.png")
    with tarfile.open(tmp_path / "linked.tar", "w") as archive:
        for name in ("0.png", "1.png", "2.png"):
            archive.add(tmp_path / name, name)
    refused(tmp_path / "linked.tar", "1.png, 2.png are links .*tar --dereference")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"label": 3, "x": [1]}', "3"),
        (b'{"label": "cat"}', "cat"),
        (b'{"label": true}', "True"),
        (b'{"label": null}', "?"),
    ],
)
def test_labels_of_shards_may_be_keys_of_a_document(content, expected, tmp_path):
    place = put(tmp_path, {"0.tar": shard([("0.png", PNG), ("0.json", content)])})
    assert counts(place, columns=("png", "json.label")) == {"train": {expected: 1}}
    refused(place, "0.json has the keys 'label'.*: .*json.KEY", columns=("png", "json"))


@pytest.mark.parametrize(
    ("label", "content"),
    [("json.a", b"[1]"), ("json.a", b"{"), ("json.a", b"\xff"), ("json.a", b'{"a": {"b": 1}}'),
     ("txt", b"\xff"), ("txt", b"x" * 2000)],
)  # fmt: skip
def test_members_that_are_no_labels_are_refused(label, content, tmp_path):
    name = f"0.{label.partition('.')[0]}"
    place = put(tmp_path, {"0.tar": shard([("0.png", PNG), (name, content)])})
    refused(place, f"{name}.*`--columns png cls`", columns=("png", label))


@pytest.mark.parametrize("texts", [("0", "00"), ("+1", "1"), ("\xe9", "e\u0301")])
def test_a_class_that_is_written_in_two_ways_is_refused(texts, tmp_path):
    message = "classes .* are one, written in two ways"
    refused(put(tmp_path / "a", {"t.parquet": table([*texts] * 2)}), message)
    refused(put(tmp_path / "b", {f"{name}/{n}.png": PNG for name in texts for n in "01"}), message)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("values", "splits", "expected"),
    [
        (["train", "train", "test", "test"], None, {"train": 2, "test": 2}),
        (["Training", "Training", "PublicTest", "PrivateTest"],
         {"train": "Training", "test": "PrivateTest"}, {"train": 2, "test": 1}),
        (["0", "0", "1", "1"], {"train": "0", "validation": "1"}, {"train": 2, "validation": 2}),
        (["train", "train", "test", "test"], {"train": "."}, {"train": 4}),
        (["train"] * 4, None, {"train": 4}),
        (["Training", "Training", "PublicTest", "PrivateTest"], None, "are each a test split"),
        (["0", "0", "1", "1"], None, "0 is not plainly a train"),
        (["train", "train", "", "test"], None, "rows without a split"),
    ],
)  # fmt: skip
def test_a_column_that_says_the_split_is_followed(kind, values, splits, expected, tmp_path):
    if kind == "csv":
        rows = (f"{n}.png,{'ab'[n % 2]},{value}\n" for n, value in enumerate(values))
        files = {f"{n}.png": PNG for n in range(len(values))}
        place = put(tmp_path, files | {"metadata.csv": f"file_name,label,split\n{''.join(rows)}"})
    else:
        place = put(tmp_path, {"train.parquet": table(list("abab"), split=values)})
    if isinstance(expected, str):
        return refused(place, f"column split.*{expected}.*--split train=", splits=splits)
    found = counts(place, splits=splits)
    assert {part: sum(own.values()) for part, own in found.items()} == expected
    index = formats.read(place, splits=splits)
    assert any("split" in note for note in index.notes)
    return None


def test_a_column_must_not_contradict_the_files_that_say_the_split(tmp_path):
    files = {
        f"{part}.parquet": table([0, 1], split=["test", "test"]) for part in ("train", "test")
    }
    place = put(tmp_path, files)
    refused(place, "column split has test in files of train")
    assert {*counts(place, splits={"train": "train.*", "test": "test.*"})} == {"train", "test"}


def test_a_part_of_numbered_files_that_is_missing_is_named(tmp_path):
    names = [f"train-{n:05d}-of-00003.parquet" for n in range(3)]
    place = put(tmp_path, {name: table([0, 1, 0, 1]) for name in names})
    assert counts(place) == {"train": {"0": 6, "1": 6}}
    (place / names[1]).unlink()
    refused(place, r"train-00001-of-00003\.parquet is missing: fetch it, or")
    assert counts(place, splits={"train": "."}) == {"train": {"0": 4, "1": 4}}
    assert counts(place / names[0]) == {"train": {"0": 2, "1": 2}}


def test_classes_that_are_called_after_splits_are_classes_if_one_says_so(tmp_path):
    place = put(tmp_path, {f"test_{kind}/{n}.png": PNG for kind in PETS for n in range(3)})
    refused(place, r"test_cat and test_dog are each a test split: .*train=\.")
    assert load_task("x", data=place, splits={"train": "."}).classes == ("test_cat", "test_dog")


def test_spaces_around_the_name_of_a_folder_do_not_matter(tmp_path):
    place = put(tmp_path, pets("train/") | {f"test/{k} /{n}.png": PNG for k in PETS for n in "01"})
    assert counts(place) == {"train": ALL, "test": {"cat": 2, "dog": 2}}
    refused(put(place, {"train/cat /9.png": PNG}), "'train/cat' and 'train/cat ' differ in spaces")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file_name;label\n0.png;a\n1.png;b\n", {"a": 1, "b": 1}),
        ("file_name\tlabel\n0.png\ta\n1.png\tb\n", {"a": 1, "b": 1}),
        ("\ufefffile_name,label\r\n0.png,a\r\n1.png,b\r\n", {"a": 1, "b": 1}),
        ("file_name,label\n0.png,\xe9\n1.png,b\n".encode("latin-1"), "no UTF-8 text: save it"),
        ("file_name,label\n0.png,a\n1.png,b\n".encode("utf-16"), "no UTF-8 text: save it"),
        ("file_name,label\nx\\0.png,a\n1.png,b\n", "has a backslash: write /"),
        ("file_name,label\n0.png,a\n1.PNG,b\n", "without an image: 1.PNG; correct or remove"),
    ],
)
def test_tables_of_spreadsheets_are_read(text, expected, tmp_path):
    place = put(tmp_path, {"0.png": PNG, "1.png": PNG, "metadata.csv": text})
    if isinstance(expected, str):
        refused(place, expected)
    else:
        assert counts(place) == {"train": expected}


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("form", ["{}_mask", "{}-seg", "{} GT", "{}_mask_0", "seg_{}"])
def test_masks_beside_photographs_are_not_taken_for_them(shards, form, tmp_path):
    ends = ("{}", form)
    names = [f"{kind}/{end.format(n)}" for kind in PETS for n in range(3) for end in ends]
    files = {f"{name}.png": PNG for name in names}
    if shards:
        labels = [(f"{name}.cls", name[:3].encode()) for name in names]
        files = {"0.tar": shard([*files.items(), *labels])}
    place = put(tmp_path, files)
    mask = form.format(0)
    refused(place, f"cat/{mask}, beside cat/0, is no photograph by its name, nor may 6")
    assert counts(place, splits={"train": "."}) == {"train": {"cat": 6, "dog": 6}}


def test_folders_in_a_shard_must_not_speak_of_another_split(tmp_path):
    members = [
        member
        for part in ("train", "test")
        for n in range(4)
        for member in ((f"{part}/{n}.png", PNG), (f"{part}/{n}.cls", str(n % 2).encode()))
    ]
    place = put(tmp_path, {"pets.tar": shard(members)})
    refused(place, "members of train lie in test, which speaks of another split: pack each split")
    assert counts(place, splits={"train": "."}) == {"train": {"0": 4, "1": 4}}
    assert counts(put(tmp_path / "test", {"test.tar": shard(members[8:])})) == {
        "test": {"0": 2, "1": 2}
    }


def test_lists_of_splits_beside_images_are_not_passed_by(tmp_path):
    place = put(tmp_path, pets() | {"meta/train.txt": "cat/0", "meta/test.txt": "cat/1"})
    refused(place, r"meta/test\.txt, meta/train\.txt may say .*if all are to train on")
    assert counts(place, splits={"train": "."}) == {"train": ALL}
    assert counts(put(tmp_path / "one", pets() | {"train.txt": "cat/0"})) == {"train": ALL}
    assert {*counts(put(tmp_path / "two", pets("train/") | pets("test/") | {
        "train.txt": "", "test.txt": ""}))} == {"train", "test"}  # fmt: skip


@pytest.mark.parametrize("name", ["is_test", "test"])
def test_a_column_that_asks_for_a_split_is_not_passed_by(name, tmp_path):
    asked = {name: [False, False, True, True]}
    place = put(tmp_path, {"t.parquet": table(list("abab"), **asked)})
    refused(place, f"column {name}: False is not plainly a train")
    assert {*counts(place, splits={"train": "False", "test": "True"})} == {"train", "test"}
    assert counts(place, splits={"train": "."}) == {"train": {"a": 2, "b": 2}}
    many = put(tmp_path / "n", {"t.parquet": table(list("abab"), test_number=[3, 4, 5, 6])})
    assert counts(many) == {"train": {"a": 2, "b": 2}}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["0.png"] * 2, "column image holds string, and no encoded images: store the content"),
        ([[PNG]] * 2, "holds list<.*>, and no encoded images"),
    ],
)
def test_columns_without_images_are_told_at_once(images, message, tmp_path):
    content = pyarrow.table({"image": images, "label": ["a", "b"]})
    pyarrow.parquet.write_table(content, tmp_path / "t.parquet")
    refused(tmp_path, message)


@pytest.mark.parametrize(
    "files", [{"train.zip": b"PK"}, {"train.tgz": b"\x1f\x8b"}, {"a.npy": b"x"}, {"a.csv": b"x"}]
)
def test_a_place_without_images_says_what_is_there_and_what_to_give(files, tmp_path):
    (name,) = files
    left = f"left out: 1 {name[name.index('.') :]}"
    refused(put(tmp_path, files), rf"has no images \({left}\): give folders .* unpack")


@pytest.mark.parametrize("files", [pets("test/"), {"test.parquet": table(["a", "b"])}])
def test_a_place_without_train_is_asked_about(files, tmp_path):
    refused(put(tmp_path, files), "no train split but test: .*--split train=NAME")


def test_metadata_without_labels_are_told(tmp_path):
    files = pets() | {"metadata.csv": "file_name,caption\ncat/0.png,a cat\n"}
    index = formats.read(put(tmp_path, files))
    assert "not read: metadata.csv, without a column of labels" in index.notes


def test_names_of_keys_that_have_dots_are_told(tmp_path):
    members = [(f"v1.{n}.{kind}", PNG) for n in range(3) for kind in ("png", "cls")]
    refused(put(tmp_path, {"0.tar": shard(members)}), r"0\.png and 1\.png .*ends at its first dot")


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
        put(tmp_path / "c", pets()),
        "no columns image, label: leave out",
        columns=("image", "label"),
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
        ([True, False, None], {"False": 1, "True": 1, "?": 1}),
        (["10", "9", "9"], {"10": 1, "9": 2}),
        (["0.0", "1.0", "1.0"], {"0": 1, "1": 2}),
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


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        (("images", "labels", "mask_images"), ("images", "labels"), "mask_images is not plainly"),
        (("train_images", "train_coarse_labels", "train_fine_labels"), ("images", "fine_labels"),
         "no labels of train"),
        (("data", "labels"), ("data", "labels"), "no images of train"),
        (("x", "images", "y"), ("x", "y"), "x and images are both images"),
        (("arr_0", "arr_1"), ("arr_0", "arr_1"), "only arr_0, arr_1"),
        (("trainData", "train_target"), ("data", "target"), "only trainData, train_target"),
    ],
)  # fmt: skip
def test_arrays_that_are_not_plain_are_chosen(names, wanted, message, tmp_path):
    images = np.zeros((4, 8, 8), np.uint8)
    labels = {
        name: [0, 1, 0, 1]
        for name in names
        if name in wanted[1] or "label" in name or "target" in name
    }
    np.savez(tmp_path / "x.npz", **dict.fromkeys(names, images) | labels)
    refused(tmp_path, f"{message}.*--columns IMAGES LABELS")
    assert counts(tmp_path, columns=wanted) == {"train": {"0": 2, "1": 2}}


def test_what_is_intact_but_cannot_be_read_is_not_called_truncated(tmp_path):
    images = np.zeros((2, 8, 8), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.array(["cat", None], object))
    refused(tmp_path / "x.npz", "labels is an array of Python objects.*store it as text")
    columns = [pyarrow.array([PNG]), pyarrow.array([0]), pyarrow.array([1])]
    twice = pyarrow.Table.from_arrays(columns, names=["image", "label", "label"])
    pyarrow.parquet.write_table(twice, tmp_path / "t.parquet")
    refused(tmp_path / "t.parquet", "has two columns 'label': rename one")


def test_rows_without_a_label_are_not_sent_to_folders(tmp_path):
    place = put(tmp_path / "a", {"t.parquet": table(["a", "b", None] * 2)})
    refused(place, "2 images without a label: .*; give it a label, or remove it")
    files = pets() | {"0.png": PNG}
    refused(put(tmp_path / "b", files), "without a label: 0.png; move it into the folder")


def test_a_split_without_images_is_left_out(tmp_path):
    files = {"train.parquet": [0, 1] * 4, "test.parquet": []}
    place = put(tmp_path, {name: table(own, names=["a", "b"]) for name, own in files.items()})
    assert load_task("x", data=place).test is None
    assert "left out: the test split, which has no images" in formats.read(place).used().notes


def test_truth_values_are_names_or_numbers_of_two_names(tmp_path):
    images, labels = np.zeros((3, 8, 8), np.uint8), np.array([True, False, True])
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    assert counts(tmp_path / "a.npz") == {"train": {"True": 2, "False": 1}}
    np.savez(tmp_path / "b.npz", images=images, labels=labels, classes=["ill", "well"])
    assert counts(tmp_path / "b.npz") == {"train": {"well": 2, "ill": 1}}


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
