"""Parquet files in the layout of Hugging Face data sets, and in other people's."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from d3data.errors import DataError
from d3data.images.formats import parquet
from pictures import ROOT, encoded, needs_real, picture, written

CLASSES = ("ant", "bee", "cow")


def samples(count: int, channels: int = 3) -> list[tuple[torch.Tensor, int]]:
    rng = torch.Generator().manual_seed(count)
    pixels = torch.randint(256, (count, channels, 9, 9), generator=rng, dtype=torch.uint8)
    return [(image, index % 3) for index, image in enumerate(pixels)]


def table(path, columns: dict, *, names: list[str] | None = None, group: int = 4) -> None:
    made = pyarrow.table(columns)
    if names:
        feature = {"names": names, "_type": "ClassLabel"}
        info = {"info": {"features": {"label": feature}}}
        made = made.replace_schema_metadata({"huggingface": json.dumps(info)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(made, path, row_group_size=group)


def cells(count: int) -> list[dict]:
    return [{"bytes": encoded(picture(index)), "path": None} for index in range(count)]


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read_again(tmp_path, channels, monkeypatch):
    monkeypatch.setattr(parquet, "GROUP", 4)
    train, test = samples(11, channels), samples(5, channels)
    written(parquet, tmp_path, train, classes=CLASSES, shards=2)
    written(parquet, tmp_path, test, classes=CLASSES, split="test")
    found = parquet.read(tmp_path)
    assert found.classes == CLASSES
    for part, expected in (("train", train), ("test", test)):
        split = found.splits[part]
        assert split.labels.tolist() == [label for _, label in expected]
        for index, (pixels, _) in enumerate(expected):
            array = np.array(split.images.open(index)).reshape(9, 9, channels)
            assert np.array_equal(array, pixels.permute(1, 2, 0))


def test_datasets_reads_what_is_written(tmp_path):
    import datasets

    written(parquet, tmp_path, samples(6), classes=CLASSES)
    path = str(tmp_path / "train-00000-of-00001.parquet")
    found = datasets.Dataset.from_parquet(path, cache_dir=str(tmp_path / "cache"))
    assert found.features["label"].names == list(CLASSES)
    assert np.array_equal(np.array(found[4]["image"]), samples(6)[4][0].permute(1, 2, 0))


def test_rows_are_the_same_in_any_order_and_the_cache_stays_small(tmp_path, monkeypatch):
    table(tmp_path / "train-0.parquet", {"image": cells(10), "label": [0] * 10})
    table(tmp_path / "train-1.parquet", {"image": cells(7), "label": [1] * 7})
    monkeypatch.setattr(parquet, "CACHE", 1)
    images = parquet.read(tmp_path).splits["train"].images
    expected = [cell["bytes"] for cell in [*cells(10), *cells(7)]]
    for index in np.random.default_rng(0).permutation(17):
        assert images.read(int(index)) == expected[index]
        assert len(images.read.__self__._cache) == 1
    assert images.name(9) == "train-0.parquet row 9"
    assert images.name(15) == "train-1.parquet row 5"


def test_splits_are_told_by_names_and_folders(tmp_path):
    for name in ("data/train/0.parquet", "data/test/0.parquet", "valid-0.parquet"):
        table(tmp_path / name, {"image": cells(2), "label": [0, 1]})
    assert {*parquet.read(tmp_path).splits} == {"train", "validation", "test"}


@pytest.mark.parametrize(("image", "label"), [("img", "fine_label"), ("image", "label")])
def test_usual_column_names_are_found(tmp_path, image, label):
    path = tmp_path / "train.parquet"
    table(path, {"coarse_label": [5, 5], label: [1, 0], image: cells(2)})
    assert parquet.read(path).splits["train"].labels.tolist() == [1, 0]


def test_columns_that_are_asked_for_win(tmp_path):
    path = tmp_path / "train.parquet"
    table(path, {"label": [0, 1], "image": cells(2), "kind": ["dog", "cat"]})
    found = parquet.read(path, ("image", "kind"))
    assert found.classes == ("cat", "dog")
    assert found.splits["train"].labels.tolist() == [1, 0]


def test_plain_bytes_and_lists_of_one_label_are_understood(tmp_path):
    path = tmp_path / "train.parquet"
    table(path, {"image": [encoded(picture(0))] * 3, "label": [[4], [2], [4]]})
    found = parquet.read(path)
    assert found.classes == ("2", "4")
    assert found.splits["train"].labels.tolist() == [1, 0, 1]
    assert found.splits["train"].images.open(2).size == (12, 12)


def test_nulls_and_negative_numbers_are_unlabeled(tmp_path):
    path = tmp_path / "train.parquet"
    table(path, {"image": cells(3), "label": [0, None, -5]}, names=["ant", "bee"])
    assert parquet.read(path).splits["train"].labels.tolist() == [0, -1, -1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [b""], "size": [3]}, "no label column among image, size"),
        ({"label": [0]}, "no image column among label"),
        ({"image": [b""], "label": [[1, 2]]}, "several labels"),
        ({"image": [b""], "label": [0.5]}, "labels are double"),
    ],
)
def test_tables_without_images_and_labels_are_refused(tmp_path, columns, message):
    table(tmp_path / "train.parquet", columns)
    with pytest.raises(DataError, match=message):
        parquet.read(tmp_path)


def test_files_of_different_data_sets_are_refused(tmp_path):
    table(tmp_path / "a.parquet", {"image": cells(1), "label": [0]}, names=["ant"])
    table(tmp_path / "b.parquet", {"image": cells(1), "label": [0]}, names=["bee"])
    with pytest.raises(DataError, match="differ in columns or classes"):
        parquet.read(tmp_path)


def test_a_broken_file_is_named(tmp_path):
    written(parquet, tmp_path, samples(4), classes=CLASSES)
    path = tmp_path / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet is truncated or not"):
        parquet.read(tmp_path)


def test_a_row_without_an_image_is_an_error_when_it_is_read(tmp_path):
    cell = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    images = pyarrow.array([{"bytes": None, "path": "/etc/hostname"}], cell)
    table(tmp_path / "train.parquet", {"image": images, "label": [0]})
    with pytest.raises(DataError, match="no encoded image"):
        parquet.read(tmp_path).splits["train"].images.read(0)


def test_identity_is_of_names_and_sizes_below_the_root(tmp_path):
    identities = []
    for name in ("one", "two"):
        written(parquet, tmp_path / name, samples(4), classes=CLASSES)
        identities.append(parquet.read(tmp_path / name).splits["train"].identity)
    written(parquet, tmp_path / "two", samples(5), classes=CLASSES)
    assert identities[0] == identities[1]
    assert parquet.read(tmp_path / "two").splits["train"].identity != identities[0]


@needs_real
def test_real_shards_are_indexed_in_order():
    found = parquet.read(Path(ROOT) / "cifar10")
    assert found.classes[:2] == ("airplane", "automobile")
    assert np.bincount(found.splits["train"].labels).tolist() == [5000] * 10
    assert found.splits["train"].labels[:5].tolist() == [6, 9, 9, 4, 1]  # as published
    assert found.splits["train"].images.name(25_001) == "train-00001-of-00002.parquet row 1"
