"""torchvision's data sets, from files in their own layouts."""

import struct

import numpy as np
import pytest
from torchvision import datasets

from d3data.errors import DataError
from d3data.images.formats import torchvision
from pictures import image_folder


def idx(path, values: np.ndarray) -> None:
    """A file as MNIST has them."""
    header = struct.pack(">I", 0x800 + values.ndim) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + values.tobytes())


def mnist(root) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    content = {}
    for key, count in (("train", 20), ("t10k", 6)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        idx(root / "MNIST" / "raw" / f"{key}-images-idx3-ubyte", images)
        idx(root / "MNIST" / "raw" / f"{key}-labels-idx1-ubyte", labels)
        content[key] = images
    return content


def test_mnist_has_its_splits_classes_and_pixels(tmp_path):
    content = mnist(tmp_path)
    found = torchvision.read(f"MNIST:{tmp_path}")
    assert found.classes[3] == "3 - three"
    assert found.splits["train"].labels.tolist() == [*range(10), *range(10)]
    assert {*found.splits} == {"train", "test"}
    image = found.splits["test"].images.open(4)
    assert np.array_equal(np.array(image), content["t10k"][4])
    assert found.splits["test"].images.name(4) == "MNIST test[4]"


def test_columns_and_splits_are_taken_where_there_are_some(tmp_path, monkeypatch):
    class Parts(datasets.ImageFolder):
        def __init__(self, root, split="trainval"):
            super().__init__(f"{root}/{split}")

    monkeypatch.setattr(datasets, "Parts", Parts, raising=False)
    for part in ("trainval", "extra"):
        image_folder(tmp_path / part)
    assert {*torchvision.read(f"Parts:{tmp_path}").splits} == {"train"}
    chosen = {"train": "extra", "test": "trainval"}
    assert {*torchvision.read(f"Parts:{tmp_path}", None, chosen).splits} == {"train", "test"}
    for refused, wanted, splits in (
        ("no split 'no'", None, {"train": "extra", "test": "no"}),
        ("no columns image, label: leave out --columns", ("image", "label"), None),
    ):
        with pytest.raises(DataError, match=refused):
            torchvision.read(f"Parts:{tmp_path}", wanted, splits)
    mnist(tmp_path)
    with pytest.raises(DataError, match="no splits that could be named: omit splits"):
        torchvision.read(f"MNIST:{tmp_path}", None, {"train": "train"})


def test_identity_is_of_the_pixels(tmp_path):
    for name in "ab":
        mnist(tmp_path / name)
    raw = tmp_path / "b" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    raw.write_bytes(raw.read_bytes()[:-1] + b"\x07")
    one, other = (torchvision.read(f"MNIST:{tmp_path / name}").splits for name in "ab")
    assert one["train"].identity != other["train"].identity
    assert one["test"].identity == other["test"].identity


def test_a_data_set_without_splits_is_train(tmp_path):
    found = torchvision.read(f"ImageFolder:{image_folder(tmp_path)}")
    assert found.classes == ("ant", "bee")
    assert {*found.splits} == {"train"}


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("CIFAR01:/data", "no data set 'CIFAR01': did you mean CIFAR10"),
        ("MNIST", "has no root; write torchvision:MNIST:"),
        ("MNIST:/nowhere", r"no MNIST at /nowhere .*download=True"),
        ("EMNIST:/nowhere", r"no EMNIST at /nowhere .*split"),
    ],
)
def test_what_is_not_there_is_said(place, message):
    with pytest.raises(DataError, match=message):
        torchvision.read(place)
