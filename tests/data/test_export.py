"""Finite copies: what other tools read of them, and that nothing is lost however they are made."""

import itertools
import json
import os
import pickle  # noqa: TID251  of our own objects
import random
import resource
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import made
import tiny_runs as runs
from d3data.data.dataset import DistilledDataset
from d3data.data.export import export
from d3data.data.streams import DrawStream
from d3data.errors import D3DataError, ExportError
from d3data.images import formats
from killing import dies

FORMATS = ("imagefolder", "npz", "parquet", "webdataset")
NASTY = ("../etc", "Test", "test", "validation\u2028set", "猫" * 150)
EACH, COUNT = 14, 70  # draws of each class, of two whole epochs and a part; images of five classes
FEW = {"draws_per_class": 2, "shards": 2}

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # webdataset leaves its files open
    "ignore::pytest.PytestUnraisableExceptionWarning",
)  # fmt: skip


@pytest.fixture(scope="module")
def nasty(tmp_path_factory) -> DistilledDataset:
    """Classes whose names cannot be names of folders."""
    folder = tmp_path_factory.mktemp("made") / "toys"
    return DistilledDataset(made.write(folder, "residual", classes=NASTY), seed=3)


@pytest.fixture
def data(soft) -> DistilledDataset:
    """A set with soft labels."""
    return DistilledDataset(soft)


@pytest.fixture(scope="module")
def copies(nasty, soft, tmp_path_factory) -> Path:
    """`nasty/parquet`, `soft/parquet`, and so on."""
    root = tmp_path_factory.mktemp("copies")
    for name, data in (("nasty", nasty), ("soft", DistilledDataset(soft))):
        for format in FORMATS:
            out = root / name / format
            done = export(data, out, format=format, draws_per_class=EACH)
            assert (done.folder, done.images, done.was_there) == (out, COUNT, False)
    return root


@pytest.fixture(scope="module")
def few(soft, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """The files of an undisturbed export with `FEW`, by format."""
    root = tmp_path_factory.mktemp("few")
    for format in FORMATS:
        export(DistilledDataset(soft), root / format, format=format, **FEW)
    return {format: tree(root / format) for format in FORMATS}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of `datasets` that is this test's own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    return tmp_path / "cache"


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def near(image, expected: Tensor) -> bool:
    """Whether pixels agree but for the rounding that a batch's size may change."""
    array = torch.from_numpy(np.array(image)).reshape(8, 8, 3).permute(2, 0, 1)
    return bool((array.int() - expected.int()).abs().max() <= 1)


# what other tools read


@pytest.mark.parametrize("format", FORMATS)
def test_our_reader_finds_the_pixels_of_materialize_and_the_names(nasty, copies, format):
    images, labels = nasty.materialize(EACH).tensors
    assert not near(images[1].permute(1, 2, 0).numpy(), images[6])  # draws of one class do differ
    found = formats.read(copies / "nasty" / format)
    assert found.classes == NASTY
    portion = found.splits["train"]
    numbers = [
        int(Path(portion.images.name(i)).stem) if format == "imagefolder" else i
        for i in range(len(portion.images))
    ]
    assert sorted(numbers) == list(range(COUNT))
    for row, number in enumerate(numbers):
        assert near(portion.images.open(row), images[number])
        assert portion.labels[row] == labels[number]


def test_image_folder_of_torchvision_has_the_classes_in_order(nasty, copies):
    from torchvision.datasets import ImageFolder

    images, labels = nasty.materialize(EACH).tensors
    found = ImageFolder(copies / "nasty" / "imagefolder" / "train")
    assert len(found) == COUNT
    for (path, label), (image, _) in zip(found.samples, found, strict=True):
        number = int(Path(path).stem)
        assert label == labels[number]
        assert near(image, images[number])
    names = (copies / "nasty" / "imagefolder" / "classes.txt").read_text(encoding="utf-8")
    assert names.removesuffix("\n").split("\n") == list(NASTY)


def test_webdataset_reads_shards_with_workers_and_shuffling(data, copies):
    import webdataset

    images, labels = data.materialize(EACH).tensors
    shards = sorted(map(str, (copies / "soft" / "webdataset").glob("shard-*.tar")))
    assert len(shards) == 8
    read = webdataset.WebDataset(shards, shardshuffle=8, seed=1).shuffle(100).decode("pil")
    loader = webdataset.WebLoader(read, batch_size=None, num_workers=2)
    order = []
    for sample in loader:
        order.append(int(sample["__key__"]))
        assert near(sample["png"], images[order[-1]])
        assert sample["cls"] == order[-1] % 5
        assert torch.equal(torch.tensor(sample["json"]["soft_label"]), labels[order[-1]])
    assert sorted(order) == list(range(COUNT)) != order


def test_shards_hold_nothing_that_anybody_would_unpickle(copies):
    for shard in copies.glob("*/webdataset/*.tar"):
        with tarfile.open(shard) as archive:
            suffixes = {name.partition(".")[2] for name in archive.getnames()}
        assert suffixes == ({"png", "cls", "json"} if "soft" in str(shard) else {"png", "cls"})


@pytest.mark.parametrize("format", ["imagefolder", "parquet", "webdataset"])
@pytest.mark.parametrize("name", ["nasty", "soft"])
def test_load_dataset_reads_the_folder(nasty, data, copies, cache, format, name):
    import datasets

    data = {"nasty": nasty, "soft": data}[name]
    images, labels = data.materialize(EACH).tensors
    found = datasets.load_dataset(str(copies / name / format))
    assert {*found} == {"train"}
    found = found["train"]
    assert len(found) == COUNT
    shown, label = ("png", "cls") if format == "webdataset" else ("image", "label")
    for index, row in enumerate(found):
        # files of one folder come together, and all tell their class
        numbers = [index] if format != "imagefolder" else range(row[label], COUNT, 5)
        assert any(near(row[shown], images[number]) for number in numbers)
        assert row[label] == numbers[0] % 5
        if name == "soft":
            given = row["json"]["soft_label"] if format == "webdataset" else row["soft_label"]
            assert any(torch.equal(torch.tensor(given), labels[n]) for n in numbers)
    if format == "parquet":
        assert found.features["label"].names == data.classes


def test_parquet_comes_in_files_that_say_what_they_are(nasty, copies, cache):
    import datasets

    folder = copies / "nasty" / "parquet"
    files = [path.name for path in sorted(folder.glob("*.parquet"))]
    assert files == [f"train-{n:05d}-of-00008.parquet" for n in range(8)]
    found = datasets.load_dataset("parquet", data_files=str(folder / "train-*.parquet"))["train"]
    assert found.features["image"] == datasets.Image()
    assert found.features["label"] == datasets.ClassLabel(names=list(NASTY))
    assert found["label"] == list(range(5)) * EACH


@pytest.mark.parametrize("name", ["nasty", "soft"])
def test_numpy_loads_the_archive_and_unpickles_nothing(nasty, data, copies, name):
    data = {"nasty": nasty, "soft": data}[name]
    images, labels = data.materialize(EACH).tensors
    with np.load(copies / name / "npz" / "images.npz", allow_pickle=False) as found:
        assert found["classes"].tolist() == data.classes
        assert found["train_labels"].tolist() == list(range(5)) * EACH
        for array, image in zip(found["train_images"], images, strict=True):
            assert near(array, image)
        if name == "soft":
            assert np.array_equal(found["train_soft_labels"], labels)


def test_soft_labels_are_left_out_where_the_set_does_not_give_them(soft, tmp_path):
    for format in ("npz", "imagefolder"):
        export(DistilledDataset(soft, soft_labels=False), tmp_path / format, format=format)
    with np.load(tmp_path / "npz" / "images.npz") as found:
        assert "train_soft_labels" not in found
    assert not (tmp_path / "imagefolder" / "train" / "metadata.jsonl").exists()


def test_transforms_and_outputs_are_left_aside(nasty, copies, tmp_path):
    other = DistilledDataset(
        nasty.artifact, seed=3, output="normalized", transform=torch.zeros_like, as_dict=True
    )
    export(other, tmp_path / "out", format="npz", draws_per_class=EACH)
    assert tree(tmp_path / "out") == tree(copies / "nasty" / "npz")


def test_a_copy_says_what_it_is_of_and_whose(nasty, copies):
    for format in FORMATS:
        record = json.loads((copies / "nasty" / format / "export.json").read_text())
        assert record["content_sha256"] == nasty.artifact.manifest.content_sha256
        assert (record["seed"], record["images"], record["format"]) == ("3", COUNT, format)
        assert record["licence"] == "CC0-1.0"
        assert "first 14 draws" in (copies / "nasty" / format / "README.md").read_text()


# the same bytes, whatever happens


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_set_seed_and_draws_give_the_same_bytes(nasty, data, copies, tmp_path, format):
    for same, name in ((nasty, "nasty"), (data, "soft")):
        export(same, tmp_path / name, format=format, draws_per_class=EACH)
        assert tree(tmp_path / name) == tree(copies / name / format)
    other = DistilledDataset(nasty.artifact, seed=4)
    export(other, tmp_path / "other", format=format, draws_per_class=EACH)
    one, two = tree(tmp_path / "other"), tree(copies / "nasty" / format)
    assert one.keys() == two.keys()
    assert one != two


@pytest.mark.parametrize("format", FORMATS)
def test_killed_at_any_step_it_goes_on_and_gives_the_same_bytes(data, few, tmp_path, format):
    stride = 1 if runs.soaking() else 29
    steps = itertools.count(random.Random(format).randrange(stride), stride)
    for step in steps:
        out = tmp_path / "out"
        died = dies(data, out, format=format, step=step, **FEW)
        assert not out.exists() or tree(out) == few[format]
        export(data, out, format=format, **FEW)
        assert tree(out) == few[format]
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        shutil.rmtree(out)
        if not died:
            break
    assert step > 30


@pytest.mark.parametrize("format", FORMATS)
def test_killed_again_and_again_it_gets_there(data, few, tmp_path, format):
    moments = random.Random(os.environ.get("D3DATA_SOAK_SEED", "0"))
    for number in range(20 if runs.soaking() else 1):
        out = tmp_path / str(number)
        for _ in range(4 if runs.soaking() else 2):
            dies(data, out, format=format, seconds=moments.uniform(0, 0.5), **FEW)
        export(data, out, format=format, **FEW)
        assert tree(out) == few[format]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_left_after_the_last_step_does_no_harm(data, few, tmp_path, monkeypatch, format):
    for removed in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", stopped)
            with pytest.raises(KeyboardInterrupt):
                export(data, tmp_path / "out", format=format, **FEW)
        assert (tmp_path / ".out.partial").exists()
        if removed:
            shutil.rmtree(tmp_path / "out")
        done = export(data, tmp_path / "out", format=format, **FEW)
        assert done.was_there != removed
        assert tree(tmp_path / "out") == few[format]
        assert not (tmp_path / ".out.partial").exists()
        shutil.rmtree(tmp_path / "out")


def stopped(*arguments, **more):
    raise KeyboardInterrupt


def test_two_processes_do_not_write_one_copy(data, tmp_path):
    def meanwhile(at):
        with pytest.raises(ExportError, match=r"out is being written by process .*: wait"):
            export(data, tmp_path / "out", format="npz", **FEW)

    export(data, tmp_path / "out", format="npz", progress=meanwhile, **FEW)
    assert export(data, tmp_path / "out", format="npz", **FEW).was_there


def test_only_missing_shards_are_written(data, tmp_path, monkeypatch):
    steps, made_again = [], []

    def stop(at):
        steps.append(at.step)
        if at.step == 43:  # the end of the fifth of eight shards
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(data, tmp_path / "out", format="parquet", draws_per_class=EACH, progress=stop)
    assert not (tmp_path / "out").exists()
    samples = DrawStream.samples

    def watched(self, start, end):
        made_again.append((start, end))
        return samples(self, start, end)

    monkeypatch.setattr(DrawStream, "samples", watched)
    export(data, tmp_path / "out", format="parquet", draws_per_class=EACH)
    assert made_again == [(43, 52), (52, 61), (61, 70)]
    assert steps[-1] == 43


# what is refused, and what goes wrong


def test_a_finished_copy_is_left_as_it_is(data, tmp_path):
    export(data, tmp_path / "out", format="parquet", draws_per_class=2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert export(data, tmp_path / "out", format="parquet", draws_per_class=2).was_there
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


CHANGES = [
    ({"format": "npz"}, "format: 'parquet', not 'npz'"),
    ({"draws_per_class": 3}, "images: 10, not 15"),
    ({"shards": 5}, "shards: 8, not 5"),
]


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(("change", "message"), [*CHANGES, ("seed", "seed: '0', not '1'")])
def test_an_export_of_something_else_is_in_the_way(data, tmp_path, finished, change, message):
    usual = {"format": "parquet", "draws_per_class": 2}
    if finished:
        export(data, tmp_path / "out", **usual)
    else:
        with pytest.raises(KeyboardInterrupt):
            export(data, tmp_path / "out", **usual, progress=stopped)
        assert (tmp_path / ".out.partial" / "export.json").exists()
    before = tree(tmp_path)
    other = DistilledDataset(data.artifact, seed=1) if change == "seed" else data
    with pytest.raises(ExportError, match=message) as caught:
        export(other, tmp_path / "out", **(usual | ({} if change == "seed" else change)))
    assert "choose another place, or remove it" in str(caught.value)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_export_stays(data, tmp_path, kind):
    out = tmp_path / "out"
    if kind == "link":
        out.symlink_to(tmp_path / "nowhere")
    elif kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
    with pytest.raises(ExportError, match="out already exists and is not an export"):
        export(data, out, format="npz")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", ["files", "link", "file"])
def test_a_hidden_folder_of_somebody_else_stays(data, tmp_path, kind):
    hidden, other = tmp_path / ".out.partial", tmp_path / "other"
    other.mkdir()
    if kind == "link":
        hidden.symlink_to(other)
    elif kind == "files":
        hidden.mkdir()
        (hidden / "thesis.tex").write_text("mine")
    else:
        hidden.write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(ExportError, match="in the way"):
        export(data, tmp_path / "out", format="npz")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("record", [b"", b"[]", b"{", b"\xff"])
def test_half_a_hidden_folder_is_cleared_away(data, tmp_path, record):
    hidden = tmp_path / ".out.partial"
    (hidden / "whole").mkdir(parents=True)
    (hidden / "whole" / "stray.tar").write_bytes(b"x")
    (hidden / "export.json").write_bytes(record)
    export(data, tmp_path / "out", format="webdataset")
    assert not (tmp_path / "out" / "stray.tar").exists()
    assert not hidden.exists()


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_told_and_the_copy_goes_on(data, copies, tmp_path, format):
    whole = tree(copies / "soft" / format)
    sizes = sorted(map(len, whole.values()))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (100, sizes[-1] - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(
                ExportError, match=r"out: File too large; finished shards are kept in"
            ):
                export(data, tmp_path / "out", format=format, draws_per_class=EACH)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not (tmp_path / "out").exists()
    export(data, tmp_path / "out", format=format, draws_per_class=EACH)
    assert tree(tmp_path / "out") == whole


def test_what_cannot_be_is_refused_before_anything_is_written(data, tmp_path):
    for options, message in (
        ({"format": "tfrecord"}, "unknown format 'tfrecord': known: imagefolder, npz"),
        ({"format": None}, "unknown format 'None'"),
        ({"format": "npz", "draws_per_class": 0}, "draws_per_class must be .* got 0"),
        ({"format": "npz", "draws_per_class": 2.5}, r"draws_per_class must be .* got 2\.5"),
        ({"format": "npz", "shards": 0}, "shards must be .* got 0"),
        ({"format": "npz", "shards": 31}, "shards must be an integer from 1 to 30, got 31"),
    ):
        with pytest.raises(ExportError, match=message):
            export(data, tmp_path / "out", **options)
    for out in ("/", "a\0b", "~nobody-at-all/x", None):
        with pytest.raises(ExportError, match=r"not a (valid )?folder"):
            export(data, out, format="npz")
    with pytest.raises(ExportError, match="cannot export a int"):
        export(3, tmp_path / "out", format="npz")
    with pytest.raises(ExportError, match=r"draws_per_class must be .* got 'x'"):
        data.to_hf("x")
    with pytest.raises(ExportError, match=r"epochs must be .* got 0"):
        data.to_iterable(0)
    assert not [*tmp_path.iterdir()]


def test_values_that_are_no_colors_are_refused(whitened, tmp_path):
    data = DistilledDataset(whitened, output="normalized")
    with pytest.raises(D3DataError, match="whitened"):
        export(data, tmp_path / "out", format="npz")


PEAK = """
import resource, sys
sys.path.insert(0, {tests!r})
import made, torch, pyarrow.parquet, PIL.Image
from pathlib import Path
from d3data.data import export, materialize
from d3data.data.dataset import DistilledDataset
torch.set_num_threads(1)
materialize.AT_ONCE, materialize.CHUNK = 1 << 18, 32  # whole blocks in the smaller copy too
image = made.IMAGE.model_copy(update={{"size": 64}})
made.IMAGE, rule = image, made.RULE.model_copy(update={{"size": 64}})
parts = made.three_parts(made.SPECS["pixels"])
for part in parts:  # black images are encoded fast
    part.tensors["pixels"].zero_()
found = made.write(
    Path({root!r}, "toys"), "pixels", image=image, preprocessing=rule, parts=parts
)
for draws in (50, 200):
    for format in ("imagefolder", "npz", "parquet", "webdataset"):
        out = Path({root!r}, f"{{format}}-{{draws}}")
        export.export(DistilledDataset(found), out, format=format, draws_per_class=draws)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_four_times_as_many_draws_need_no_more_memory(tmp_path):
    """250 images and 1,000: the difference is 9 MB of pixels, four times that as floats."""
    code = PEAK.format(tests=str(Path(__file__).parents[1]), root=str(tmp_path))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    few, many = (int(line) / 1024 for line in run.stdout.split())  # MB
    assert many - few < 6


# `datasets`


def test_to_hf_is_materialize_with_features_and_is_written_once(data, cache, monkeypatch):
    import datasets

    images, labels = data.materialize(EACH).tensors
    found = data.to_hf(EACH)
    assert found.features == data.features
    assert found.features["label"] == datasets.ClassLabel(names=list(made.NAMES))
    assert found["label"] == list(range(5)) * EACH
    for row, image, label in zip(found, images, labels, strict=True):
        assert near(row["image"], image)
        assert torch.equal(torch.tensor(row["soft_label"]), label)
    assert len(data.to_hf()) == 30
    other = DistilledDataset(data.artifact, seed=1).to_hf(EACH)
    assert not near(other[0]["image"], images[0])
    monkeypatch.setattr(DrawStream, "samples", None)  # from now on nothing is drawn
    again = data.to_hf(EACH)
    assert again.cache_files == found.cache_files
    assert all(Path(file["filename"]).is_relative_to(cache) for file in again.cache_files)


def test_to_iterable_gives_epoch_after_epoch(nasty, cache):
    images, labels = nasty.materialize(18).tensors
    found = nasty.to_iterable(3)
    assert found.features == nasty.features
    rows = list(found)
    assert [row["label"] for row in rows] == labels.tolist()
    assert all(near(row["image"], image) for row, image in zip(rows, images, strict=True))
    assert len(list(nasty.to_iterable())) == 30


def test_to_iterable_is_shared_by_workers_and_ranks(nasty, cache):
    from datasets.distributed import split_dataset_by_node
    from torch.utils.data import DataLoader

    def seen(rows):
        return sorted(np.asarray(row["image"]).tobytes() for row in rows)

    expected = seen(nasty.to_iterable(2))
    assert seen(DataLoader(nasty.to_iterable(2), batch_size=None, num_workers=2)) == expected
    ranks = [split_dataset_by_node(nasty.to_iterable(2), rank=r, world_size=2) for r in range(2)]
    assert sorted(seen(ranks[0]) + seen(ranks[1])) == expected


def test_to_iterable_goes_on_where_its_state_was_taken(nasty, cache):
    rows = [np.asarray(row["image"]) for row in nasty.to_iterable(2)]
    first = nasty.to_iterable(2)
    for number, _ in enumerate(first):
        if number == 33:
            state = json.loads(json.dumps(first.state_dict()))
            break
    rest = nasty.to_iterable(2)
    rest.load_state_dict(state)
    rest = [np.asarray(row["image"]) for row in rest]
    assert len(rest) == 26
    assert all(
        near(one, torch.tensor(other).permute(2, 0, 1))
        for one, other in zip(rest, rows[34:], strict=True)
    )


def test_draws_that_are_sent_to_a_process_hold_no_tensors(nasty):
    draws = DrawStream(nasty)
    first = next(draws.samples(3, 4))
    sent = pickle.dumps(draws)
    assert len(sent) < 5_000
    assert torch.equal(next(pickle.loads(sent).samples(3, 4)).pixels, first.pixels)
