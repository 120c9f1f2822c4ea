"""Layouts are read as `datasets.load_dataset` reads them, or refused: a grid of generated ones."""

import gc
from collections import Counter

import pytest

from d3data.errors import DataError
from places import PNG, counts, pets, put, samples, table

NAMES = (
    (), ("train",), ("train", "test"), ("train", "val"), ("train", "dev", "test"), ("test",),
    ("training", "evaluation"), ("train_set", "test_set"), ("seg_train", "seg_test"),
    ("train2017", "val2017"), ("my train", "my eval"), ("train", "valid", "testing"),
    ("train", "extra"), ("train", "train_noisy"), ("train.1", "train.2"), ("dev", "eval"),
)  # fmt: skip
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # pandas leaves files open
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
READ = NAMES[:12]  # others are refused
PLAIN = {  # of shards, `datasets` takes any word before their numbers for a split
    "training": "train", "val": "validation", "dev": "validation", "valid": "validation",
    "testing": "test", "eval": "test", "evaluation": "test", "train_set": "train",
    "test_set": "test", "seg_train": "train", "seg_test": "test", "train2017": "train",
    "val2017": "validation",
}  # fmt: skip
AROUND = [("", "", ""), ("pets/", "images/", ""), ("", "", "again/"), ("pets/", "", "again/")]


@pytest.fixture(scope="module")
def load_dataset(tmp_path_factory):
    """`datasets.load_dataset`, as counts of each class in each split; None without labels."""
    import datasets

    cache = tmp_path_factory.mktemp("cache")
    datasets.disable_progress_bars()

    def load(place):
        try:
            found = datasets.load_dataset(str(place), cache_dir=str(cache))
        except (ValueError, OSError, datasets.exceptions.DatasetGenerationError):
            return None
        if any(not {"label", "cls"} & {*split.features} for split in found.values()):
            return None
        return {PLAIN.get(name, name): _counted(split) for name, split in found.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        yield load
    datasets.enable_progress_bars()
    gc.collect()  # of files that pandas has left open, while that may be


def _counted(split):
    column = "label" if "label" in split.features else "cls"
    names = getattr(split.features[column], "names", None)
    values = split.data.column(column).to_pylist()
    return dict(Counter(str(names[value]) if names else str(value) for value in values))


def ours(place):
    try:
        return counts(place)
    except DataError as failure:
        return str(failure)


@pytest.mark.parametrize("names", NAMES, ids="-".join)
def test_folders(names, tmp_path, load_dataset):
    for number, (around, inner, wrapper) in enumerate(AROUND):
        files = {}
        for size, name in enumerate(names or ("",), 1):
            files |= pets(f"{around}{name}/{wrapper}" if name else around, size, inner)
        place = put(tmp_path / str(number), files)
        found, expected = ours(place), load_dataset(place)
        assert not isinstance(found, str) or names not in READ, found
        assert isinstance(found, str) or expected is None or found == expected


@pytest.mark.parametrize("names", NAMES, ids="-".join)
@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_files(names, kind, tmp_path, load_dataset):
    make = {"tar": samples, "parquet": lambda count: table([n % 2 for n in range(count)])}[kind]
    for number, style in enumerate(
        ("{}.{}", "data/{}-00000-of-00001.{}", "{}/0.{}", "x/data/{}/part-0.{}")
    ):
        if not names and "-of-" in style:
            continue
        files = {style.format(n, kind): make(2 + size) for size, n in enumerate(names or "ab")}
        place = put(tmp_path / str(number), files)
        found, expected = ours(place), load_dataset(place)
        assert not isinstance(found, str) or names not in READ, found
        assert isinstance(found, str) or expected is None or found == expected


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("csv", "file_name,label\n0.png,cat\n1.png,dog\n2.png,dog\n"),
        ("csv", "file_name,extra,label\n2.png,a,1\n./1.png,,0\n0.png,b,0\n"),
        ("jsonl", '{"file_name":"0.png","label":"cat"}\n{"file_name":"1.png","label":"dog"}\n'),
        ("csv", "file_name,label\n0.png,cat\n1.png,dog\n"),
        ("csv", "file_name,label\n0.png,cat\n1.png,dog\n2.png,dog\n2.png,cat\n"),
        ("csv", "file_name,label\n0.png,cat\n1.png,dog\n2.png,dog\n3.png,cat\n"),
        ("csv", "file_name,caption\n0.png,a cat\n1.png,a dog\n2.png,a dog\n"),
    ],
)
def test_metadata(suffix, text, inside, tmp_path, load_dataset):
    count = 2 if suffix == "jsonl" else 3
    files = {}
    for part in ("train", "test") if inside else ("",):
        below = f"{part}/" if part else ""
        files |= {f"{below}{n}.png": PNG for n in range(count)}
        files[f"{below}metadata.{suffix}"] = text
    place = put(tmp_path, files)
    found, expected = ours(place), load_dataset(place)
    assert isinstance(found, str) or expected is None or found == expected
    assert isinstance(found, str) == (text.count("\n") != count + (suffix == "csv"))


@pytest.mark.parametrize(
    "labels", [["cat", "dog", "dog"], [0, 1, 1], ["10", "9", "9"], [1, 3, 3]], ids=str
)
@pytest.mark.parametrize("names", [None, ["ant", "bee", "cow", "dog"]])
def test_labels_of_tables(labels, names, tmp_path, load_dataset):
    if names and isinstance(labels[0], str):
        names = [*names, "cat", "10", "9"]
        labels = [names.index(label) for label in labels]
    place = put(tmp_path, {"train.parquet": table(labels, names=names)})
    assert ours(place) == load_dataset(place)


@pytest.mark.parametrize(
    "files",
    [
        pets() | {"stray/deep/x.txt": "x", "Thumbs.db": "x", "notes.md": "x"},
        pets() | {"__MACOSX/cat/._0.png": PNG, "__MACOSX/eel/0.png": PNG, ".git/eel/0.png": PNG},
        pets("train/") | pets("test/") | {"train/notes.txt": "x"},
        {f"{name}/{n}.png": PNG for name in ("10", "9", "1") for n in range(2)},
        {f"{kind}/{part}_{n}.png": PNG for kind in ("a", "b") for part in ("train", "test")
         for n in range(2)},
        {f"{kind}/{part}/{n}.png": PNG for kind in ("a", "b") for part in ("x", "y")
         for n in range(2)},
        pets() | {"cat/9.ico": PNG},
        pets() | {"cat/9.png.bak": PNG},
        pets() | {"train.parquet": table([0, 1])},
    ],
)  # fmt: skip
def test_other_places(files, tmp_path, load_dataset):
    place = put(tmp_path, files)
    found = ours(place)
    assert isinstance(found, str) or found == load_dataset(place)
