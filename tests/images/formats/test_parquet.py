"""Parquet files in the layout of Hugging Face data sets, and in other people's."""

import json
import tempfile
from collections import Counter
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


def samples(count: int) -> list[tuple[torch.Tensor, int]]:
    rng = torch.Generator().manual_seed(count)
    pixels = torch.randint(256, (count, 3, 9, 9), generator=rng, dtype=torch.uint8)
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


@pytest.mark.parametrize(("room", "kept"), [(0, True), (1 << 60, False)])
def test_a_row_group_is_decompressed_twice_at_most_where_there_is_room(
    room, kept, tmp_path, monkeypatch
):
    table(tmp_path / "train.parquet", {"image": cells(17), "label": [0] * 17})
    monkeypatch.setattr(parquet, "CACHE", 1)
    monkeypatch.setattr(parquet, "ROOM", room)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    images = parquet.read(tmp_path).splits["train"].images
    groups, reads = images.read.__self__, Counter()

    class Counting:
        def __init__(self, number):
            self.number, self.group = number, groups._groups[number]

        def to_table(self, **options):
            reads[self.number] += 1
            return self.group.to_table(**options)

    groups._groups = [*map(Counting, range(len(groups._groups)))]
    expected = [cell["bytes"] for cell in cells(17)]
    for index in [*range(17), *np.random.default_rng(0).permutation(170) % 17]:
        assert images.read(int(index)) == expected[index]
        assert not [*(tmp_path / "temporary").iterdir()], "a file that would outlive the process"
    assert len(reads) == 5
    assert (max(reads.values()) == 2) == kept


def test_splits_are_told_by_names_and_folders(tmp_path):
    for name in ("data/train/0.parquet", "data/test/0.parquet", "valid-0.parquet"):
        table(tmp_path / name, {"image": cells(2), "label": [0, 1]})
    assert {*parquet.read(tmp_path).splits} == {"train", "validation", "test"}


IMAGE = encoded(picture(0))


@pytest.mark.parametrize(
    ("columns", "names", "wanted", "classes", "labels"),
    [
        ({"coarse_label": [5, 5], "fine_label": [1, 0]}, None, None, ("0", "1"), [1, 0]),
        ({"label": [0, 1], "kind": ["dog", "cat"]}, None, ("img", "kind"), ("cat", "dog"), [1, 0]),
        ({"label": [[4], [2], [4]]}, None, None, ("2", "4"), [1, 0, 1]),
        ({"label": [0, None, -5]}, ["ant", "bee"], None, ("ant", "bee"), [0, -1, -1]),
    ],
    ids=["usual names", "names asked for", "lists of one label", "nulls and negative numbers"],
)
def test_labels_are_found_in_their_column(tmp_path, columns, names, wanted, classes, labels):
    path = tmp_path / "train.parquet"
    table(path, columns | {"img": [IMAGE] * len(labels)}, names=names)
    found = parquet.read(path, wanted)
    assert (found.classes, found.splits["train"].labels.tolist()) == (classes, labels)
    assert found.splits["train"].images.open(1).size == (12, 12)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [b""], "size": [3]}, "no label column among image, size"),
        ({"label": [0]}, "no image column among label"),
        ({"image": [b""], "label": [[1, 2]]}, "several labels"),
        ({"image": [b""], "label": [0.5]}, "labels are float64 such as 0.5"),
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
