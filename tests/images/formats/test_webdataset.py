"""WebDataset shards: reading what others write, and writing what others read."""

import io
import tarfile

import numpy as np
import pytest
import torch
import webdataset

from d3data.errors import DataError
from d3data.images.formats import webdataset as shards
from pictures import encoded, picture, written


def samples(count: int) -> list[tuple[torch.Tensor, int]]:
    rng = torch.Generator().manual_seed(count)
    pixels = torch.randint(256, (count, 3, 8, 8), generator=rng, dtype=torch.uint8)
    return [(image, index % 2) for index, image in enumerate(pixels)]


def tar(path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the library leaves its files open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_library_reads_what_is_written(tmp_path):
    written(shards, tmp_path, samples(3))
    path = tmp_path / "shard-000000.tar"
    read = (
        webdataset.WebDataset(str(path), shardshuffle=False).decode("rgb8").to_tuple("png", "cls")
    )
    for (array, label), (pixels, expected) in zip(read, samples(3), strict=True):
        assert label == expected
        assert np.array_equal(array, pixels.permute(1, 2, 0))


def test_shards_are_called_by_their_split_and_number(tmp_path):
    written(shards, tmp_path, samples(7), shards=3)
    written(shards, tmp_path, samples(2), split="test")
    assert sorted(path.name for path in tmp_path.glob("*.tar")) == [
        *(f"shard-00000{n}.tar" for n in range(3)), "test-000000.tar",
    ]  # fmt: skip
    found = shards.read(tmp_path)
    assert found.splits["train"].images.name(4) == "shard-000002.tar:00000004.png"


def test_a_shard_tells_nothing_of_when_and_by_whom_it_was_written(tmp_path):
    written(shards, tmp_path, [(pixels, label, torch.ones(2)) for pixels, label in samples(2)])
    with tarfile.open(tmp_path / "shard-000000.tar") as archive:
        members = archive.getmembers()
    assert [m.name for m in members[:3]] == ["00000000.png", "00000000.cls", "00000000.json"]
    for m in members:
        assert (m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) == (0, 0, 0, "", "", 0o644)


def test_class_names_may_hold_any_separator_but_that_of_lines(tmp_path):
    names = (" a\u2028b ", "c\x85d")
    written(shards, tmp_path, samples(2), classes=names)
    assert shards.read(tmp_path).classes == names
    (tmp_path / "classes.txt").write_bytes(b"\xff\n")
    with pytest.raises(DataError, match=r"classes\.txt is no UTF-8 text"):
        shards.read(tmp_path)


def test_others_layouts_are_understood(tmp_path):
    members = {
        "./deep/n01.x/a.cls": b"7\n",
        "./deep/n01.x/a.jpg": encoded(picture(0), "jpeg"),
        "./b.json": b"{}",
        "./b.webp": encoded(picture(1), "webp"),
        "./b.cls": b"10",
        "./c.PNG": encoded(picture(2)),
    }
    tar(tmp_path / "0.tar", members)
    found = shards.read(tmp_path)
    split = found.splits["train"]
    assert found.classes == ("7", "10")
    assert split.labels.tolist() == [0, 1, -1]
    assert [split.images.open(index).format for index in range(3)] == ["JPEG", "WEBP", "PNG"]


def test_class_names_may_be_text(tmp_path):
    members = {"a.png": encoded(picture(0)), "a.cls": b"bee", "b.png": b"", "b.cls": b"ant"}
    tar(tmp_path / "train.tar", members)
    found = shards.read(tmp_path / "train.tar")
    assert found.classes == ("ant", "bee")
    assert found.splits["train"].labels.tolist() == [1, 0]


def test_faulty_shards_are_refused(tmp_path):
    image = encoded(picture(0, width=60, height=60))
    tar(tmp_path / "zipped.tar", {"a.png": image, "a.cls": b"0"}, "w:gz")
    tar(tmp_path / "bare.tar", {"a.png": image, "a.cls": b"0", "b.cls": b"1"})
    tar(tmp_path / "short.tar", {"a.png": image, "a.cls": b"0"})
    content = (tmp_path / "short.tar").read_bytes()
    (tmp_path / "short.tar").write_bytes(content[:700])
    for name, message in (
        ("zipped", "it is compressed; unpack it"),
        ("bare", "labels without an image: b"),
        ("short", "truncated or not an uncompressed tar"),
    ):
        with pytest.raises(DataError, match=message):
            shards.read(tmp_path / f"{name}.tar")


def members(count, labels):
    found = {}
    for number in range(count):
        found[f"{number}.png"] = encoded(picture(number), "png")
        found[f"{number}.cls"] = labels[number % len(labels)]
    return found


@pytest.mark.parametrize("how", ["header", "cut", "joined"])
def test_a_shard_ends_where_its_members_do(how, tmp_path):
    path = tmp_path / "train-0.tar"
    tar(path, members(4, [b"0", b"1"]))
    with tarfile.open(path) as archive:
        header = archive.getmember("2.png").offset
    whole = path.read_bytes()
    broken = {
        "header": whole[:header] + bytes(512) + whole[header + 512 :],
        "cut": whole[:header],
        "joined": whole + whole,
    }
    path.write_bytes(broken[how])
    with pytest.raises(DataError, match="is cut off, damaged or several archives in one"):
        shards.read(tmp_path)


def test_shards_have_labels_of_one_kind(tmp_path):
    tar(tmp_path / "train-0.tar", members(2, [b"0", b"1"]))
    tar(tmp_path / "train-1.tar", members(2, [b"cat", b"dog"]))
    with pytest.raises(DataError, match=r"numbers in .*train-0.tar and text in .*train-1.tar"):
        shards.read(tmp_path)
