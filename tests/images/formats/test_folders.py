"""Image folders: layouts, strays, names."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d3data.errors import DataError
from d3data.images.formats import folders
from pictures import encoded, image_folder, picture


def labels_of(found, part="train") -> dict[str, int]:
    split = found.splits[part]
    names = [split.images.name(index) for index in range(len(split.images))]
    return dict(zip(names, split.labels.tolist(), strict=True))


def test_folders_are_classes_in_ascii_order(tmp_path):
    found = folders.read(image_folder(tmp_path / "own", classes=("bee", "Cat", "ant"), count=2))
    assert found.classes == ("Cat", "ant", "bee")
    other = folders.read(image_folder(tmp_path / "other", classes=("train", "bus", "car")))
    assert (other.classes, {*other.splits}) == (("bus", "car", "train"), {"train"})
    assert labels_of(found) == {
        "Cat/0.png": 0, "Cat/1.png": 0, "ant/0.png": 1,
        "ant/1.png": 1, "bee/0.png": 2, "bee/1.png": 2,
    }  # fmt: skip


@pytest.mark.parametrize("names", [("train", "test"), ("train", "val"), ("training", "valid")])
def test_split_folders_are_splits(tmp_path, names):
    for name in names:
        image_folder(tmp_path / name, count=3)
    found = folders.read(tmp_path)
    assert found.classes == ("ant", "bee")
    assert len(found.splits) == 2
    assert labels_of(found)[f"{names[0]}/bee/2.png"] == 1


def test_images_lie_at_one_depth_below_their_class(tmp_path):
    for name in ("ant", "bee"):
        image_folder(tmp_path / name, classes=("images",), count=1)
    assert labels_of(folders.read(tmp_path)) == {"ant/images/0.png": 0, "bee/images/0.png": 1}
    image_folder(tmp_path / "bee", classes=("masks",), count=1)
    image_folder(tmp_path, classes=("bee",), count=1)
    with pytest.raises(DataError, match="in bee and deeper, in "):
        folders.read(tmp_path)


@pytest.mark.parametrize("splits", [False, True])
def test_images_outside_a_class_are_unlabeled(tmp_path, splits):
    image_folder(tmp_path / "train" if splits else tmp_path)
    (tmp_path / "stray.jpg").write_bytes(encoded(picture(0), "jpeg"))
    assert labels_of(folders.read(tmp_path))["stray.jpg"] == -1


def test_other_files_and_hidden_ones_are_left_alone(tmp_path):
    image_folder(tmp_path, count=1)
    for name in ("ant/notes.txt", "ant/._0.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "0.png").write_bytes(b"x")
    assert [*labels_of(folders.read(tmp_path))] == ["ant/0.png", "bee/0.png"]


def test_what_counts_as_an_image():
    assert all(map(folders.is_image, ("a.JPG", "a.jpeg", "a.tiff", "a.webp", "a.heic", "a.b.png")))
    assert not any(map(folders.is_image, ("png", ".png", "a.png.txt", "a.npz", "a.svg")))


def test_an_empty_class_is_a_class_and_an_empty_folder_has_none(tmp_path):
    image_folder(tmp_path / "full")
    (tmp_path / "full" / "cow").mkdir()
    assert folders.read(tmp_path / "full").classes == ("ant", "bee", "cow")
    (tmp_path / "empty").mkdir()
    assert folders.read(tmp_path / "empty").classes == ()


def test_identity_follows_names_and_sizes_and_not_places(tmp_path):
    one = folders.read(image_folder(tmp_path / "one")).splits["train"].identity
    two = image_folder(tmp_path / "two")
    assert folders.read(two).splits["train"].identity == one
    (two / "ant" / "0.png").write_bytes(b"12345")
    changed = folders.read(two).splits["train"].identity
    (two / "ant" / "0.png").rename(two / "ant" / "9.png")
    assert len({one, changed, folders.read(two).splits["train"].identity}) == 3


def test_a_link_to_nowhere_is_listed_so_that_it_is_reported(tmp_path):
    image_folder(tmp_path)
    (tmp_path / "ant" / "gone.png").symlink_to(tmp_path / "nothing")
    assert labels_of(folders.read(tmp_path))["ant/gone.png"] == 0


def test_others_lists_of_classes_rename_nothing(tmp_path):
    image_folder(tmp_path)
    for text in ("bee\nant\n", "cat\ndog\n", "ant\n"):
        (tmp_path / "classes.txt").write_text(text)
        assert folders.read(tmp_path).classes == ("ant", "bee")


UNSAFE = [
    "", ".", "..", "../ant", "a/b", "a\\b", "CON", "nul.txt", "com1", " ", "-rf", "x" * 300,
    "猫" * 200, "a\u202eb", "a.", "e\u0301", "\u00e9", "Ant", "ant", "ANT", "a:b", "a?b",
]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(UNSAFE), st.text(min_size=1, max_size=200)), min_size=1))
def test_folder_names_are_safe_sorted_and_different_everywhere(classes):
    names = folders.folder_names(classes)
    assert names == sorted(names)
    assert len({unicodedata.normalize("NFD", name).casefold() for name in names}) == len(classes)
    for name in names:
        assert 1 <= len(name.encode()) <= 120
        assert not re.search(r'[/\\:*?"<>|\x00-\x1f\u2028\u202e]', name)
        assert name[0] not in " .-"
        assert name[-1] not in " ."
        assert name.split(".")[0].lower() not in ("con", "prn", "aux", "nul", "com1", "lpt9")


def test_safe_names_stay_as_they_are():
    assert folders.folder_names(["T-shirt", "ant (red)", "été"]) == ["T-shirt", "ant (red)", "été"]
    assert folders.folder_names(["b", "a"]) == ["0 b", "1 a"]
    assert folders.folder_names(["x"] * 11)[-2:] == ["09 x", "10 x"]
