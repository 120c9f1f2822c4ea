"""Tasks by name and by path: what is found, what is derived, what is refused."""

import ast
import json
from pathlib import Path

import numpy as np
import pydantic
import pytest
import torch

import d3data.images
import pictures
from d3data.errors import DataError, UnknownNameError
from d3data.images import formats
from d3data.images.formats import hub_datasets, parquet
from d3data.images.formats.index import ImageIndex, IndexedSplit, array_images, index_images
from d3data.images.formats.labels import UNLABELED
from d3data.images.preprocessing import Preprocessing
from d3data.images.presets import PRESETS
from d3data.images.tasks import TaskSpec, load_task
from pictures import encoded, image_folder, needs_real, picture

RNG = torch.Generator().manual_seed(0)


@pytest.fixture
def nowhere(monkeypatch):
    monkeypatch.delenv("D3DATA_DATA", raising=False)


@pytest.fixture
def own(tmp_path) -> Path:
    return image_folder(tmp_path / "own", classes=("ant", "bee", "cow"), count=12)


def test_digits_are_whole(nowhere):
    task = load_task("digits")
    assert (len(task.train), len(task.validation), len(task.test)) == (1295, 143, 359)
    assert task.rule == Preprocessing(channels=1, size=8, fit="exact")
    assert task.fingerprint == "a26ca73c684de3c44c49682962e834babed8f9d5beb7376f0f055bae7f0b7ac1"
    pixels = torch.cat([s.pixels(range(len(s))) for s in (task.train, task.validation)]) / 255.0
    assert abs(pixels.mean() - task.mean[0]) < 1e-4
    assert abs(pixels.std() - task.std[0]) < 1e-4
    images, labels = task.train.batch(64, rng=RNG)
    assert images.shape == (64, 1, 8, 8)
    assert labels.dtype == torch.int64


def test_an_own_folder_needs_no_more_than_a_path(own):
    task = load_task("my-insects", data=own)
    assert task.classes == ("ant", "bee", "cow")
    assert (len(task.train), len(task.validation), task.test) == (33, 3, None)
    assert (task.channels, task.size, task.rule.fit) == (3, 12, "crop")
    assert (task.license, task.source) == ("not stated", "own images")
    assert "my-insects: 3 classes (ant, bee, cow), 12x12 RGB; train 33" in repr(task)
    normalized = task.train.read(range(len(task.train)))
    assert normalized.mean((0, 2, 3)).abs().max() < 1e-3
    assert (normalized.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_what_is_asked_for_is_what_comes(own):
    task = load_task("x", data=own, size=16, channels=1, fit="pad", validation=0.25)
    assert task.rule == Preprocessing(channels=1, size=16, fit="pad")
    assert len(task.validation) == 9
    assert task.train.batch(4, of=2, rng=RNG)[0].shape == (4, 1, 16, 16)


def test_the_fingerprint_is_of_contents_and_choices_and_not_of_places(own, tmp_path):
    base = load_task("x", data=own).fingerprint
    moved = own.rename(tmp_path / "elsewhere")
    assert load_task("another-name", data=moved).fingerprint == base
    changed = {
        load_task("x", data=moved, size=16).fingerprint,
        load_task("x", data=moved, fit="pad").fingerprint,
        load_task("x", data=moved, validation=0.3).fingerprint,
    }
    (moved / "ant" / "0.png").rename(moved / "bee" / "99.png")
    assert len({base, *changed, load_task("x", data=moved).fingerprint}) == 5


def test_a_subtask_has_its_classes_in_the_order_given(nowhere):
    task = load_task("digits")
    few = task.subtask([7, 2])
    assert few.classes == ("7", "2")
    assert few.train.counts() == [task.train.counts()[7], task.train.counts()[2]]
    assert (few.mean, few.rule) == (task.mean, task.rule)
    assert len({task.fingerprint, few.fingerprint, task.subtask([2, 7]).fingerprint}) == 3
    assert task.subtask([7, 2]).fingerprint == few.fingerprint


@pytest.mark.parametrize("classes", [[], [1, 1], [10], [-1]])
def test_impossible_subtasks_are_refused(classes):
    with pytest.raises(DataError, match=r"not distinct classes of 0\.\.9"):
        load_task("digits").subtask(classes)


def test_a_spec_survives_json_and_builds_the_same_task(own):
    spec = TaskSpec(name="x", size=16, channels=1, fit="squash", license="CC0-1.0")
    again = TaskSpec.parse(json.loads(json.dumps(spec.dump())), where="test")
    assert again == spec
    assert spec.load(own).fingerprint == again.load(str(own)).fingerprint
    assert spec.load(own).license == "CC0-1.0"


@pytest.mark.parametrize(
    "fields",
    [{"name": "../x"}, {"name": ""}, {"size": 7}, {"validation": 0.0}, {"validation": 0.6}],
)
def test_impossible_specs_are_refused(fields):
    with pytest.raises(pydantic.ValidationError):
        TaskSpec(**({"name": "x"} | fields))
    with pytest.raises(DataError, match="load_task: "):
        load_task(**({"name": "x"} | fields))


def test_named_folders_are_found_with_dashes_and_underscores_alike(tmp_path, monkeypatch, own):
    monkeypatch.setenv("D3DATA_DATA", str(tmp_path))
    for folder, name in (("my_own-set", "my-own-set"), ("your-own_set", "your-own-set")):
        image_folder(tmp_path / folder)
        assert load_task(name).classes == ("ant", "bee")
    assert load_task("my-own-set", data=own).classes == ("ant", "bee", "cow")  # a path wins


def test_an_unknown_name_is_answered_with_the_nearest(nowhere):
    with pytest.raises(UnknownNameError, match=r"did you mean fashion-mnist.*--data.*D3DATA_DATA"):
        load_task("fashion-mnits")


def test_a_preset_that_cannot_be_fetched_says_where_to_put_it(nowhere, monkeypatch):
    def read(reference: str, columns: tuple[str, str], splits: None):
        assert (reference, columns, splits) == ("uoft-cs/cifar100", ("img", "fine_label"), None)
        raise DataError("hf:uoft-cs/cifar100 cannot be fetched")

    monkeypatch.setattr(hub_datasets, "read", read)
    with pytest.raises(DataError, match=r"cannot be fetched; .*--data.*\$D3DATA_DATA/cifar100"):
        load_task("cifar100")


@pytest.mark.parametrize("data", [None, "all"])
def test_a_preset_of_some_classes_has_the_images_of_these(data, nowhere, monkeypatch):
    numbers = np.arange(400) % 200
    pixels = np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (400, 64, 64, 3))
    images = array_images(pixels, 400, "drawn")
    stored = {"train": (images, numbers, "a"), "validation": (images, numbers, "b")}
    whole = index_images(stored, [f"class {number}" for number in range(200)], "hf:drawn")
    monkeypatch.setattr(hub_datasets, "read", lambda *_: whole)
    monkeypatch.setattr(formats, "read", lambda *_, **__: whole)
    task = load_task("tiny-imagenet-20", data=data)
    assert task.classes == tuple(f"class {number}" for number in range(0, 200, 10))
    assert (len(task.train), len(task.validation), len(task.test)) == (20, 20, 40)
    for split in (task.train, task.validation, task.test):
        shown = split.pixels(range(len(split)))[:, 0, 0, 0]
        assert torch.equal(shown.long(), 10 * split.labels)


def test_an_image_without_a_label_is_of_no_class_and_stays():
    images = array_images(np.zeros((4, 8, 8), np.uint8), 4, "drawn")
    labels = np.array([2, 1, UNLABELED, 0])
    index = ImageIndex(("a", "b", "c"), {"train": IndexedSplit(images, labels, "a")}, "drawn")
    assert index.every(2).splits["train"].labels.tolist() == [1, UNLABELED, 0]


def written(folder: Path, side: int, channels: int) -> Path:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (20, channels, side, side), generator=rng, dtype=torch.uint8)
    samples = [(image, index % 2) for index, image in enumerate(pixels)]
    pictures.written(parquet, folder, samples)
    return folder


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("fashion-mnist", None, Preprocessing(channels=1, size=28, fit="exact")),
        ("fashion-mnist", 32, Preprocessing(channels=1, size=32, fit="pad", padding=2)),
        ("mnist", 16, Preprocessing(channels=1, size=16, fit="pad")),
        ("cifar10", 16, Preprocessing(channels=3, size=16, fit="squash")),
        ("imagenette", None, Preprocessing(channels=3, size=128, fit="crop")),
        ("imagenette", 64, Preprocessing(channels=3, size=64, fit="crop")),
    ],
)
def test_presets_bring_their_rule(tmp_path, name, size, expected):
    task = load_task(
        name, data=written(tmp_path, PRESETS[name].native, expected.channels), size=size
    )
    assert task.rule == expected
    assert (task.mean, task.license) == (PRESETS[name].mean, PRESETS[name].license)
    assert task.train.pixels([0]).shape == (1, expected.channels, expected.size, expected.size)


def test_a_preset_in_other_channels_has_moments_of_its_own(tmp_path):
    task = load_task("cifar10", data=written(tmp_path, 32, 3), channels=1)
    assert len(task.mean) == 1
    assert abs(float(task.train.read(range(18)).mean())) < 1e-3


def test_a_preset_of_the_wrong_size_is_refused_by_name(tmp_path):
    task = load_task("cifar10", data=written(tmp_path, 16, 3))
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet row 0 .*exactly 32x32"):
        task.train.pixels([0])


def test_broken_headers_and_stray_images_are_named(own):
    (own / "stray.png").write_bytes(encoded(picture(0)))
    with pytest.raises(DataError, match=r"1 image without a label: stray\.png"):
        load_task("x", data=own)
    (own / "stray.png").unlink()
    (own / "bee" / "3.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 image cannot be read: bee/3\.png"):
        load_task("x", data=own)
    with pytest.raises(DataError, match=r"bee/3\.png"):
        load_task("cifar10", data=own, fit="crop").train.pixels(range(33))


def test_every_preset_is_complete():
    for name, preset in PRESETS.items():
        TaskSpec(name=name)
        assert len(preset.mean) == len(preset.std) == preset.channels
        assert all(0 < value < 1 for value in (*preset.mean, *preset.std))
        assert preset.license
        assert preset.source
        assert preset.hub.count("/") >= 1 or name == "digits"


def test_no_module_imports_the_library_of_a_format_before_it_is_needed():
    heavy = {"torchvision", "datasets", "webdataset", "pyarrow", "sklearn", "PIL"}
    for path in Path(d3data.images.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & heavy, path


@needs_real
@pytest.mark.parametrize(
    ("name", "counts", "tolerance"),
    [
        ("fashion-mnist", (54000, 6000, 10000), 0.004),
        ("cifar10", (45000, 5000, 10000), 0.02),
        ("tiny-imagenet-20", (9000, 1000, 1000), 0.02),
    ],
)
def test_real_presets_have_their_published_moments(name, counts, tolerance):
    task = load_task(name)
    assert (len(task.train), len(task.validation), len(task.test)) == counts
    rows = np.linspace(0, counts[0] - 1, 2000).astype(int)
    pixels = task.train.pixels(rows.tolist()) / 255.0
    assert np.allclose(pixels.mean((0, 2, 3)), task.mean, atol=tolerance * 2)
    assert np.allclose(pixels.std((0, 2, 3)), task.std, atol=tolerance)


@needs_real
@pytest.mark.parametrize(
    ("name", "size", "classes"), [("imagenette-224-mini", 224, 10), ("tiny-imagenet-20", 64, 20)]
)
def test_real_photographs_of_mixed_modes_load_as_they_are(name, size, classes):
    task = load_task(name)
    assert (task.channels, task.size, len(task.classes)) == (3, size, classes)
    assert len(task.test) == 50 * classes
    images, labels = task.train.batch(2, of=classes - 1, rng=RNG)
    assert images.shape == (2, 3, size, size)
    assert labels.tolist() == [classes - 1] * 2
    assert task.test.pixels(range(0, len(task.test), 50)).float().std() > 40
