"""Which reader reads what, laws of all writers, and images that need no files."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from d3data.errors import DataError
from d3data.images import formats
from d3data.images.formats import builtin, parquet, webdataset
from pictures import encoded, image_folder, picture, written

SAMPLES = [(torch.zeros(3, 8, 8, dtype=torch.uint8), 0)] * 2
CLASSES = ("a/b - c", "Boot", "猫")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", formats.WRITERS)
def test_what_is_written_is_read_again(tmp_path, monkeypatch, name, channels):
    monkeypatch.setattr(parquet, "GROUP", 4)
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (11, channels, 9, 9), generator=rng, dtype=torch.uint8)
    samples = [(image, (7 * n) % 3) for n, image in enumerate(pixels)]
    written(formats.WRITERS[name], tmp_path, samples, classes=CLASSES, shards=3)
    found = formats.read(tmp_path)
    assert found.classes == CLASSES
    split = found.splits["train"]
    assert len(split.images) == 11
    numbers = range(11)
    if name == "imagefolder":  # class after class
        numbers = [int(split.images.name(index)[-12:-4]) for index in numbers]
    for index, number in enumerate(numbers):
        assert split.labels[index] == samples[number][1]
        array = np.array(split.images.open(index)).reshape(9, 9, channels)
        assert np.array_equal(array, pixels[number].permute(1, 2, 0))


@pytest.mark.parametrize("name", ["imagefolder", "parquet", "webdataset"])
def test_another_split_is_read_as_that(tmp_path, name):
    for split, count in (("train", 2), ("test", 1)):
        samples = SAMPLES[:count]
        written(formats.WRITERS[name], tmp_path, samples, classes=("ant",), split=split)
    found = formats.read(tmp_path)
    assert {part: len(split.images) for part, split in found.splits.items()} == {
        "train": 2, "test": 1,
    }  # fmt: skip


def test_a_folder_is_read_by_what_lies_in_it(tmp_path):
    written(parquet, tmp_path / "p" / "data", SAMPLES)
    written(webdataset, tmp_path / "w", SAMPLES)
    image_folder(tmp_path / "f")
    (tmp_path / "p" / "preview.png").write_bytes(encoded(picture(0)))
    (tmp_path / "p" / ".hidden").mkdir()
    pixels = np.zeros((2, 8, 8), np.uint8)
    np.savez(tmp_path / "n.npz", train_images=pixels, train_labels=np.zeros((2, 1), int))
    for place, name in (
        ("p", "data/train-00000-of-00001.parquet row 0"),
        ("w", "shard-000000.tar:00000000.png"),
        ("f", "ant/0.png"),
        ("n.npz", "n.npz train_images[0]"),
    ):
        assert formats.read(tmp_path / place).splits["train"].images.name(0) == name


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere/at-all", "nowhere/at-all does not exist.*hf:ORG/NAME"),
        ("user/flowers", "user/flowers does not exist"),  # never guessed to be a repository
        (__file__, r"test_formats\.py: a single file must be"),
        ("torchvision:NIST:/x", "torchvision has no data set 'NIST'"),
        ("hf:../x", r"hf:\.\./x cannot be loaded"),
    ],
)
def test_other_places_are_refused(place, message):
    with pytest.raises(DataError, match=message):
        formats.read(place)


def test_the_digits_are_split_by_class_and_have_their_gray_levels():
    found = builtin.digits()
    train, test = found.splits["train"], found.splits["test"]
    assert (len(train.labels), len(test.labels)) == (1438, 359)
    images = [split.images.open(n) for split in (train, test) for n in range(len(split.labels))]
    both = np.stack([np.array(image) for image in images])
    assert both.astype(int).sum() == np.rint(load_digits().images * 255 / 16).sum()
    assert {*both.ravel()} == {round(level * 255 / 16) for level in range(17)}
    shares = np.bincount(test.labels) / np.bincount(load_digits().target)
    assert np.all(abs(shares - 0.2) < 0.005)
