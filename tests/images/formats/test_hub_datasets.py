"""Data sets through `datasets`, from folders of this machine; the Hub is never asked."""

import numpy as np
import pytest

from d3data.errors import DataError
from d3data.images.formats import hub_datasets, parquet
from pictures import image_folder, written
from places import put, table


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def folder(tmp_path):
    import torch

    pixels = torch.arange(8 * 3 * 64).remainder(256).to(torch.uint8).view(8, 3, 8, 8)
    samples = [(image, index % 2) for index, image in enumerate(pixels)]
    for split in ("train", "test"):
        written(parquet, tmp_path / "data", samples, split=split)
    return tmp_path / "data"


def test_it_reads_what_parquet_reads(tmp_path):
    place = folder(tmp_path)
    found, direct = hub_datasets.read(str(place)), parquet.read(place)
    assert found.classes == direct.classes
    assert {*found.splits} == {*direct.splits} == {"train", "test"}
    for part, split in found.splits.items():
        assert split.labels.tolist() == direct.splits[part].labels.tolist()
        for index in range(8):
            expected = direct.splits[part].images.read(index)
            assert split.images.read(index) == expected


def test_images_that_are_files_are_read_too(tmp_path):
    found = hub_datasets.read(str(image_folder(tmp_path / "pictures" / "train")))
    assert found.classes == ("ant", "bee")
    with found.splits["train"].images.open(0) as image:
        assert np.array(image).shape == (12, 12, 3)


def test_columns_that_are_asked_for_must_be_there(tmp_path):
    with pytest.raises(DataError, match="no label column among image, label"):
        hub_datasets.read(str(folder(tmp_path)), ("image", "kind"))


def test_what_cannot_be_fetched_is_named(tmp_path):
    with pytest.raises(DataError, match="hf:nobody/nothing cannot be loaded"):
        hub_datasets.read("nobody/nothing")


@pytest.mark.parametrize(
    ("reference", "arguments"),
    [
        ("a/b", ("a/b", {"revision": None, "name": None})),
        ("a/b:small@v1", ("a/b", {"revision": "v1", "name": "small"})),
        (
            "a/b:320px@refs/convert/parquet",
            ("a/b", {"revision": "refs/convert/parquet", "data_dir": "320px"}),
        ),
    ],
)
def test_references_are_taken_apart(reference, arguments, monkeypatch):
    import datasets

    asked = []

    def load_dataset(*path, **more):
        asked.append((*path, more))
        raise FileNotFoundError("no network in tests")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match="no network in tests"):
        hub_datasets.read(reference)
    assert asked == [arguments]


def test_two_splits_for_one_and_unknown_ones_are_asked_for(tmp_path):
    for name in ("train", "train_noisy", "extra"):
        rows = table(["ant", "bee", "bee"][: 2 + (name == "train")])
        put(tmp_path / "own", {f"data/{name}-00000-of-00001.parquet": rows})
    place = str(tmp_path / "own")
    with pytest.raises(DataError, match="extra is not plainly a train, validation or test split"):
        hub_datasets.read(place)
    (tmp_path / "own" / "data" / "extra-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"train, train_noisy are each a train split: .*--split"):
        hub_datasets.read(place)
    found = hub_datasets.read(place, splits={"train": "train"})
    assert found.splits["train"].labels.tolist() == [0, 1, 1]
    assert "left out: train_noisy" in found.notes
