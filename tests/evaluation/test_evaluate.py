"""evaluate(): rows and numbers, laws of the comparison, and what it refuses before it trains."""

from dataclasses import replace

import pytest
import torch

import d3data
from d3data import artifact
from d3data.dataset import DistilledDataset
from d3data.errors import (
    ArtifactError,
    DataError,
    DeviceError,
    FormatError,
    RecipeError,
    TrainingError,
)
from d3data.evaluation import checks, evaluate
from d3data.evaluation.baselines import Photographs, random
from d3data.rng import generator
from d3data.tasks import load_task
from pictures import encoded, picture


@pytest.fixture(scope="module")
def report(pixels, tiny):
    return evaluate(pixels, protocol=tiny, date="2026-01-02")


def test_rows_say_what_they_were_trained_on(report, pixels, digits, tiny):
    distilled, other = report.rows
    assert (distilled.name, distilled.values) == ("distilled", 3 * 10 * 64)
    assert distilled.bytes == pixels.ledger.content_bytes
    assert (other.name, other.images_per_class, other.values) == ("random", 3, 3 * 10 * 64)
    assert [trial.seed for trial in other.trials] == [0, 1]
    assert {trial.images for row in report.rows for trial in row.trials} == {12 * 16}
    assert (report.split, report.tests) == ("test", len(digits.test))
    assert report.content_sha256 == pixels.artifact.manifest.content_sha256
    assert report.fingerprint == digits.fingerprint
    assert (report.protocol, report.date) == (tiny, "2026-01-02")
    assert report.data == "three-digits 1.0.0"
    assert report.versions["d3data"] == d3data.__version__


def test_the_set_may_be_named_by_its_folder(report, pixels, tiny):
    again = evaluate(pixels.artifact.folder, protocol=tiny, seeds=[1], baselines=())
    assert [row.name for row in again.rows] == ["distilled"]
    assert again.rows[0].mean == report.rows[0].trials[1].accuracy


def test_stored_images_and_the_same_images_as_tensors_train_alike(report, pixels, digits, tiny):
    images, labels = pixels.batch(0, range(len(pixels)))
    same = evaluate(Photographs(images, labels), digits, protocol=tiny)
    got, expected = ([trial.loss for trial in r.rows[0].trials] for r in (same, report))
    assert got == expected
    assert same.rows[1].mean == report.rows[1].mean
    assert (same.data, same.content_sha256) == ("Photographs", None)


def test_validation_is_tested_on_validation(pixels, digits, tiny):
    hidden = replace(digits, test=None)
    report = evaluate(pixels, hidden, protocol=tiny, seeds=[0], split="validation")
    assert (report.split, report.tests) == ("validation", len(digits.validation))


def test_progress_counts_every_step_of_every_network(pixels, tiny):
    events = []
    evaluate(pixels, protocol=tiny, progress=events.append)
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages == [
        f"{row}, network {n} of 2" for row in ("distilled", "random") for n in (1, 2)
    ]
    assert [event.step for event in events] == [*range(1, 13)] * 4
    assert {event.steps for event in events} == {12}
    assert all(event.loss > 0 for event in events)


def wrong(digits, *, images=None, labels=None):
    images = torch.zeros(20, 1, 8, 8) if images is None else images
    return Photographs(images, torch.arange(20) % 10 if labels is None else labels)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": torch.zeros(20, 1, 16, 16)}, DataError, "1x16x16 .* 1x8x8"),
        ({"images": torch.zeros(20, 3, 8, 8)}, DataError, "3x8x8"),
        ({"images": torch.zeros(0, 1, 8, 8)}, DataError, "no images"),
        ({"images": torch.full((20, 1, 8, 8), torch.inf)}, ArtifactError, "not finite"),
        ({"labels": torch.arange(20)}, DataError, "labels from 0 to 19"),
        ({"labels": torch.arange(20) - 1}, DataError, "labels from -1"),
        ({"labels": torch.zeros(20, 9)}, DataError, r"\(20, 9\) .* \(B, 10\)"),
        ({"labels": torch.zeros(20, 1).long()}, DataError, r"\(20, 1\)"),
    ],
)
def test_a_set_that_does_not_fit_is_refused(digits, tiny, changes, error, message):
    with pytest.raises(error, match=message):
        evaluate(wrong(digits, **changes), digits, protocol=tiny, progress=untouched)


def untouched(progress):
    raise AssertionError("it trained")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": tuple("abcdefghij")}, "differ in"),
        ({"classes": tuple("1032456789")}, "their order"),
        ({"mean": (0.5,)}, "mean"),
        ({"test": None}, r"no test images.*--split validation \(split='validation'\)"),
    ],
)
def test_a_task_that_does_not_fit_is_refused(pixels, digits, tiny, changes, message):
    with pytest.raises(DataError, match=message):
        evaluate(pixels, replace(digits, **changes), protocol=tiny, progress=untouched)


def test_a_rule_that_differs_is_refused(pixels, digits, tiny):
    rule = digits.rule.model_copy(update={"fit": "squash"})
    with pytest.raises(DataError, match="rule"):
        evaluate(pixels, replace(digits, rule=rule), protocol=tiny, progress=untouched)


def test_the_task_is_that_of_the_recipe_in_the_set(pixels, tmp_path):
    made = _with_recipe(pixels, tmp_path / "a", "[task]\nname = 'digits'\nvalidation = 0.3\n")
    task = checks.origin(made, None)
    assert task.fingerprint == load_task("digits", validation=0.3).fingerprint
    assert len(task.validation) > 2 * len(checks.origin(pixels, None).validation)


def test_the_place_in_a_recipe_is_not_looked_at(pixels, tmp_path):
    text = "[task]\nname = 'digits'\ndata = '/nowhere'\n"
    task = checks.origin(_with_recipe(pixels, tmp_path / "a", text), None)
    assert task.source == load_task("digits").source


def test_the_columns_of_a_recipe_are_read(pixels, tmp_path):
    table = "name = 'digits'\ncolumns = ['left', 'right']\n"
    made = _with_recipe(pixels, tmp_path / "a", f"[task]\n{table}")
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "own.parquet"
    columns = {"left": [encoded(picture(i)) for i in range(40)], "right": ["a", "b"] * 20}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    assert checks.origin(made, path).classes == ("a", "b")


@pytest.mark.parametrize("text", ["[task", "steps = 1", "task = 3", "[task]\nnam = 'digits'\n"])
def test_a_broken_recipe_in_the_set_is_named(pixels, tmp_path, text):
    with pytest.raises(FormatError, match=r"recipe\.toml of the set"):
        checks.origin(_with_recipe(pixels, tmp_path / "a", text), None)


def _with_recipe(pixels, folder, text):
    page = pixels.artifact.manifest
    written = artifact.write(
        folder,
        spec=page.content.source,
        image=page.content.image,
        preprocessing=page.content.preprocessing,
        classes=page.content.classes,
        parts=[pixels.artifact.part(0)],
        about=page.about,
        extras={"recipe.toml": text.encode()},
    )
    return DistilledDataset(written)


def test_tensors_do_not_say_where_they_come_from(digits, tiny):
    with pytest.raises(DataError, match=r"evaluate\(data, task\)"):
        evaluate(wrong(digits), protocol=tiny)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"protocol": "quik"}, RecipeError, "quick"),
        ({"baselines": ["randm"]}, RecipeError, "random"),
        ({"seeds": [1, 1]}, DataError, "one of its own"),
        ({"seeds": []}, DataError, "one of its own"),
        ({"device": "cuda:99"}, DeviceError, "not here"),
    ],
)
def test_a_wrong_word_is_refused(pixels, tiny, changes, error, message):
    with pytest.raises(error, match=message):
        evaluate(pixels, **({"protocol": tiny, "progress": untouched} | changes))


def test_a_loss_that_is_not_finite_stops_and_says_where(digits, tiny):
    class Breaking(Photographs):
        def batch(self, epoch, indices, *, device):
            images, labels = super().batch(epoch, indices, device=device)
            return images * (torch.nan if epoch == 5 else 1), labels

    good = random(digits.train, 2, rng=generator(0))
    with pytest.raises(TrainingError, match=r"network 1 of 2 \(seed 0\).* step \d of 12.*0\.05"):
        evaluate(Breaking(good.images, good.labels), digits, protocol=tiny)
