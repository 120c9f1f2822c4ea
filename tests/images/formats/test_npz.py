"""MedMNIST's archives."""

import numpy as np
import pytest
import torch

from d3data.errors import DataError
from d3data.images.formats import npz
from pictures import written


def archive(path, *, shape=(12, 6, 6, 3), labels=None, dtype=np.uint8, **more):
    rng = np.random.default_rng(0)
    content = {}
    for key in ("train", "val", "test"):
        content[f"{key}_images"] = rng.integers(0, 256, shape).astype(dtype)
        content[f"{key}_labels"] = (
            rng.integers(0, 3, (shape[0], 1)) if labels is None else np.asarray(labels)
        )
    np.savez_compressed(path, **(content | more))
    return content


@pytest.mark.parametrize("shape", [(12, 6, 6), (12, 6, 7, 3)])
@pytest.mark.parametrize("as_folder", [False, True])
def test_splits_labels_and_pixels_are_those_of_the_archive(tmp_path, shape, as_folder):
    path = tmp_path / "pathmnist.npz"
    content = archive(path, shape=shape)
    found = npz.read(tmp_path if as_folder else path)
    assert found.classes == ("0", "1", "2")
    for part, key in (("train", "train"), ("validation", "val"), ("test", "test")):
        split = found.splits[part]
        assert split.labels.tolist() == content[f"{key}_labels"][:, 0].tolist()
        assert len(split.images) == 12
        assert np.array_equal(np.array(split.images.open(7)), content[f"{key}_images"][7])
    assert found.splits["validation"].images.name(7) == "pathmnist.npz val_images[7]"


def test_soft_labels_are_written(tmp_path):
    soft = torch.rand(7, 2)
    samples = [(torch.zeros(1, 6, 6, dtype=torch.uint8), n % 2, soft[n]) for n in range(7)]
    written(npz, tmp_path, samples, shards=3)
    with np.load(tmp_path / "images.npz") as archive:
        assert np.array_equal(archive["train_soft_labels"], soft)
        assert archive["train_labels"].dtype == np.int64


def test_class_names_must_be_names(tmp_path):
    for classes in (np.zeros(3), np.array([["a"]]), np.array([{}], dtype=object)):
        archive(tmp_path / "x.npz", classes=classes)
        with pytest.raises(DataError, match=r"x\.npz"):
            npz.read(tmp_path / "x.npz")


def test_identity_is_of_the_pixels(tmp_path):
    content = archive(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", **content)  # stored, not compressed
    content["train_images"][0, 0, 0, 0] ^= 1
    np.savez(tmp_path / "c.npz", **content)
    one, same, other = (
        npz.read(tmp_path / f"{name}.npz").splits["train"].identity for name in "abc"
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shape": (12, 6, 6, 6)}, "not uint8"),
        ({"dtype": np.float32}, "train_images is float32"),
        ({"labels": np.zeros((12, 14), int)}, "several labels"),
        ({"labels": np.zeros((5, 1), int)}, "12 train_images and 5 labels"),
    ],
)
def test_what_is_no_set_of_labeled_images_is_refused(tmp_path, fields, message):
    archive(tmp_path / "x.npz", **fields)
    with pytest.raises(DataError, match=message):
        npz.read(tmp_path / "x.npz")


def test_broken_foreign_and_pickled_archives_are_refused(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    np.savez(tmp_path / "foreign.npz", x=np.zeros(3))
    archive(tmp_path / "pickled.npz", train_labels=np.array([{}] * 12, dtype=object))
    for name in ("broken", "foreign", "pickled"):
        with pytest.raises(DataError, match=f"{name}.npz"):
            npz.read(tmp_path / f"{name}.npz")


def test_one_of_several_archives_must_be_chosen(tmp_path):
    archive(tmp_path / "a.npz")
    archive(tmp_path / "b.npz")
    with pytest.raises(DataError, match=r"2 archives \(a.npz, b.npz\)"):
        npz.read(tmp_path)
