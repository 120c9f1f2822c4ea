"""evaluate(): rows and numbers, laws of the comparison, and what it refuses before it trains."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as PIL

import d3data
import toys
from d3data import artifact
from d3data.data.dataset import DistilledDataset
from d3data.errors import (
    ArtifactError,
    D3DataError,
    DataError,
    DeviceError,
    FormatError,
    RecipeError,
    TrainingError,
    UnknownNameError,
)
from d3data.evaluation import Row, Trial, baselines, evaluate, planner, runner, validate
from d3data.evaluation.baselines import Photographs, Rival
from d3data.evaluation.baselines.setting import drawn
from d3data.evaluation.report import measured
from d3data.evaluation.runner import Bench
from d3data.evaluation.scores import augmentation_robust, label_robust, robust
from d3data.evaluation.setup import Ground
from d3data.evaluation.terms import Terms
from d3data.evaluation.trial_training import Course
from d3data.images.tasks import load_task
from d3data.nets.compute import Compute
from d3data.utils.rng import generator
from pictures import encoded, picture
from spies import Spy


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
        f"{row}, convnet-w4, network {n} of 2" for row in ("distilled", "random") for n in (1, 2)
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
        ({"labels": torch.zeros(20, 10)}, DataError, "no probabilities"),
        ({"labels": 2 * torch.eye(10).repeat(2, 1) - 0.1}, DataError, "no probabilities"),
        ({"labels": 1.1 * torch.eye(10).repeat(2, 1)}, DataError, "no probabilities"),
        ({"labels": torch.full((20, 10), torch.nan)}, DataError, "no probabilities"),
        ({"labels": torch.eye(10).repeat(2, 1).half()}, DataError, "float16"),
        ({"labels": torch.arange(20).int() % 10}, DataError, "int32"),
        ({"images": torch.zeros(20, 1, 8, 8).double()}, DataError, "float64"),
    ],
)
def test_a_set_that_does_not_fit_is_refused(digits, tiny, changes, error, message):
    with pytest.raises(error, match=message):
        evaluate(wrong(digits, **changes), digits, protocol=tiny, progress=untouched)


@pytest.mark.parametrize("what", ["labels", "images"])
def test_all_of_an_epoch_is_looked_at(digits, tiny, what):
    draws = Photographs(torch.zeros(900, 1, 8, 8), torch.arange(900) % 10)
    getattr(draws, what)[899] = 77 if what == "labels" else torch.nan
    with pytest.raises(D3DataError, match=r"labels from 0 to 77|not finite"):
        evaluate(draws, digits, protocol=tiny, progress=untouched)


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
    task = validate.origin(made, None)
    assert task.fingerprint == load_task("digits", validation=0.3).fingerprint
    assert len(task.validation) > 2 * len(validate.origin(pixels, None).validation)


def test_without_a_recipe_the_task_is_normalized_as_the_set_is(pixels, tmp_path):
    image = pixels.image.model_copy(update={"mean": (0.5,), "std": (0.25,)})
    task = validate.origin(_written(pixels, tmp_path / "a", image=image), None)
    assert (task.mean, task.std) == ((0.5,), (0.25,))
    shades = task.train.pixels([0]) / 255
    torch.testing.assert_close(task.train.read([0]), (shades - 0.5) / 0.25)


def test_the_place_in_a_recipe_is_not_looked_at(pixels, tmp_path):
    text = "[task]\nname = 'digits'\ndata = '/nowhere'\n"
    task = validate.origin(_with_recipe(pixels, tmp_path / "a", text), None)
    assert task.source == load_task("digits").source


def test_the_columns_of_a_recipe_are_read(pixels, tmp_path):
    table = "name = 'digits'\ncolumns = ['left', 'right']\n"
    made = _with_recipe(pixels, tmp_path / "a", f"[task]\n{table}")
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "own.parquet"
    columns = {"left": [encoded(picture(i)) for i in range(40)], "right": ["a", "b"] * 20}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    assert validate.origin(made, path).classes == ("a", "b")


@pytest.mark.parametrize("text", ["[task", "steps = 1", "task = 3", "[task]\nnam = 'digits'\n"])
def test_a_broken_recipe_in_the_set_is_named(pixels, tmp_path, text):
    with pytest.raises(FormatError, match=r"recipe\.toml of the set"):
        validate.origin(_with_recipe(pixels, tmp_path / "a", text), None)


def _with_recipe(pixels, folder, text):
    return _written(pixels, folder, extras={"recipe.toml": text.encode()})


def _written(pixels, folder, **changes):
    page = pixels.artifact.manifest
    usual = {
        "spec": page.content.source,
        "image": page.content.image,
        "preprocessing": page.content.preprocessing,
        "classes": page.content.classes,
        "parts": [pixels.artifact.part(0)],
        "about": page.about,
    }
    return DistilledDataset(artifact.write(folder, **usual | changes))


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
        ({"seeds": 5}, DataError, r"seeds=range\(5\)"),
        ({"seeds": [-1]}, DataError, "must be an integer"),
        ({"seeds": ["a"]}, DataError, "must be an integer"),
        ({"split": "train"}, DataError, "test, validation"),
        ({"labels": []}, DataError, "hard, soft or both"),
        ({"nets": []}, TrainingError, "no network"),
        ({"networks": {}}, TrainingError, "no network"),
        ({"nets": ["mlp"], "networks": {"a": torch.nn.Flatten}}, TrainingError, "one of the two"),
        ({"baselines": ["random", "random"]}, RecipeError, "once"),
        ({"baselines": ["random", "means"]}, DataError, "Gaussian priors"),
        ({"device": "cuda:99"}, DeviceError, "not here"),
    ],
)
def test_a_wrong_word_is_refused(pixels, tiny, changes, error, message):
    with pytest.raises(error, match=message):
        evaluate(pixels, **({"protocol": tiny, "progress": untouched} | changes))


def test_an_unknown_augmentation_is_refused(pixels, tiny):
    wrong = tiny.model_copy(update={"augment": "siamse"})
    with pytest.raises(RecipeError, match="did you mean siamese"):
        evaluate(pixels, protocol=wrong, progress=untouched)


@pytest.mark.parametrize("name", ["random-bytes", "compressed"])
def test_equal_bytes_are_refused_where_none_are_known(digits, tiny, name):
    with pytest.raises(DataError, match="says its bytes"):
        evaluate(
            wrong(digits), digits, protocol=tiny, baselines=["random", name], progress=untouched
        )


def linear(*, channels, size, classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * size**2, classes))


@pytest.mark.parametrize(
    "options", [{"baselines": ["random", "herding"]}, {"scores": True, "baselines": ()}]
)
def test_own_networks_teach_nobody(priors, digits, tiny, options):
    with pytest.raises(TrainingError, match="tell their features"):
        evaluate(
            priors, digits, protocol=tiny, networks={"mine": linear}, progress=untouched, **options
        )


def test_a_loss_that_is_not_finite_stops_and_says_where(digits, tiny):
    class Breaking(Photographs):
        def batch(self, epoch, indices, *, device):
            images, labels = super().batch(epoch, indices, device=device)
            return images * (torch.nan if epoch == 5 else 1), labels

    rows = drawn(digits.train, 2, generator(0))
    good = Photographs(digits.train.read(rows), digits.train.labels[rows])
    with pytest.raises(TrainingError, match=r"network 1 of 2 \(seed 0\).* step \d of 12.*0\.05"):
        evaluate(Breaking(good.images, good.labels), digits, protocol=tiny)


def test_answers_that_are_not_finite_stop_and_say_where(pixels, tiny):
    def ruin(network, draws, *, seed, device):
        with torch.no_grad():
            network[1].bias[3] = torch.nan

    with pytest.raises(TrainingError, match=r"distilled, mine.*seed 0\).*answers are not finite"):
        evaluate(pixels, protocol=tiny, networks={"mine": linear}, train=ruin)


def test_networks_by_name_and_by_norm(pixels, tiny):
    short = tiny.model_copy(update={"steps": 2, "networks": 1})
    report = evaluate(pixels, protocol=short, nets=["mlp", "lenet", "vgg11/batch"], baselines=())
    assert [row.network for row in report.rows] == ["mlp", "lenet", "vgg11/batch"]
    assert len({row.trials[0].flops for row in report.rows}) == 3


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"nets": ["resnt18"]}, UnknownNameError, "did you mean resnet18"),
        ({"nets": ["resnet18/bach"]}, TrainingError, "bach"),
        ({"networks": {"mine": lambda **shape: torch.nn.Flatten()}}, TrainingError, "mine gives"),
        ({"networks": {"mine": lambda: None}}, TrainingError, "mine cannot be built"),
        (
            {"networks": {"mine": lambda **shape: torch.nn.Conv2d(1, 4, 20)}},
            TrainingError,
            "network mine .*cannot take two images of 1x8x8",
        ),
        ({"networks": {"mine": lambda **shape: Pair()}}, TrainingError, "mine gives tuple"),
        ({"labels": ["soft"]}, D3DataError, "has hard labels"),
        ({"labels": ["sft"]}, DataError, "did you mean soft"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(pixels, tiny, changes, error, message):
    with pytest.raises(error, match=message):
        evaluate(pixels, protocol=tiny, progress=untouched, **changes)


class Pair(torch.nn.Module):
    def forward(self, images):
        return images, images


def test_ones_own_networks_and_loop(pixels, tiny, cache):
    def train(network, draws, *, seed, device):
        images, labels = draws.batch(0, torch.arange(len(draws)), device=device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()

    report = evaluate(pixels, protocol=tiny, networks={"mine": linear}, train=train)
    assert [row.network for row in report.rows] == ["mine", "mine"]
    first = report.rows[0].trials[0]
    assert (first.images, first.loss, first.learning_rate) == (30, None, None)
    assert report.rows[0].mean > 0.3
    assert not cache.exists()
    assert report.own_loop
    assert "trained by a loop of its user’s own" in measured(report)
    assert Terms.of(report).steps == 30


def test_of_several_rates_the_best_on_validation_is_taken(pixels, digits, tiny):
    several = tiny.model_copy(update={"learning_rates": (1e-6, 0.05), "steps": 40})
    report = evaluate(pixels, protocol=several, seeds=[0])
    for row in report.rows:
        rates = dict(row.rates)
        assert set(rates) == {1e-6, 0.05}
        assert rates[0.05] == max(rates.values())
        assert {trial.learning_rate for trial in row.trials} == {0.05}
    once = evaluate(pixels, protocol=tiny, seeds=[0])
    assert [row.rates for row in once.rows] == [(), ()]


def test_a_rate_that_diverges_is_not_taken(pixels, tiny):
    several = tiny.model_copy(update={"learning_rates": (1e30, 0.05)})
    row = evaluate(pixels, protocol=several, seeds=[0], baselines=()).rows[0]
    assert dict(row.rates)[1e30] == 0
    assert row.trials[0].learning_rate == 0.05


def test_scores_are_those_of_the_rows(pixels, tiny):
    report = evaluate(pixels, protocol=tiny, seeds=[0], scores=True, baselines=())
    assert [row.name for row in report.rows] == ["distilled", "random", "real"]
    own, random, real = (row.mean for row in report.rows)
    bare = tiny.model_copy(update={"augment": "none"})
    plain = [row.mean for row in evaluate(pixels, protocol=bare, seeds=[0]).rows]
    told = report.scores
    assert told.recovery == pytest.approx(real - own)
    assert told.improvement == pytest.approx(own - random)
    assert told.label_robust == pytest.approx(label_robust(own - random, real - own))
    assert told.augmentation_robust == pytest.approx(
        augmentation_robust(own - random, plain[0] - plain[1])
    )
    assert "LRS" in report.table()


@pytest.mark.parametrize(
    ("labels", "soft", "rivals"),
    [
        (None, [True, False], ["random", "soft", "real"]),
        (["soft"], [True, False], ["random", "soft", "real"]),
        (["hard", "soft"], [True, False], ["random", "soft", "real"]),
        (["hard"], [False], ["random", "real"]),
    ],
)
def test_scores_are_of_the_labels_that_are_asked_for(priors, digits, tiny, labels, soft, rivals):
    """With soft ones first, hard ones too, for they are what is recovered."""
    plan = planner.plan(priors, digits, protocol=tiny, labels=labels, scores=True)
    assert [one.soft_labels for one in plan.sets] == soft
    assert list(plan.rivals) == rivals


def test_hard_labels_are_scored_against_random_images(priors, digits, tiny):
    options = {"labels": ["hard"], "baselines": (), "seeds": [0], "scores": True}
    report = evaluate(priors, digits, protocol=tiny, **options)
    assert {row.labels for row in report.rows} == {"hard"}
    own, random, real = (row.mean for row in report.rows)
    assert report.scores.improvement == own - random
    assert report.scores.recovery == real - own


def test_scores_need_hard_labels_too(digits, tiny):
    soft = wrong(digits, labels=torch.eye(10).repeat(2, 1))
    with pytest.raises(DataError, match="scores need hard labels too, and a Photographs"):
        planner.plan(soft, digits, protocol=tiny, scores=True)


def test_recovery_is_that_of_hard_labels():
    def row(name, labels, accuracy):
        still = Photographs(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64))
        of = Rival(still, None, None, None)
        made = Row.of(name, [TRIAL], network="a", labels=labels, of=of)
        return made.model_copy(update={"mean": accuracy})

    plain = [row("distilled", "soft", 0.7), row("soft", "soft", 0.6)]
    rows = [row("distilled", "soft", 0.9), row("distilled", "hard", 0.5), plain[1]]
    found = robust([*rows, row("real", "hard", 0.8)], plain)
    assert (found.recovery, found.improvement) == pytest.approx((0.8 - 0.5, 0.9 - 0.6))


TRIAL = Trial(
    seed=0, learning_rate=0.1, accuracy=0.5, per_class=(), confusion=None, loss=0.1, steps=1,
    images=1, flops=1, memory=None, seconds=1.0, curve=(),
)  # fmt: skip


def test_scores_by_hand():
    """(e^a - 1/e) / (e - 1/e) for a = (0.2 - 0.3) / 2, and for b = (0.2 + 0.1) / 2."""
    assert label_robust(0.2, 0.3) == pytest.approx((0.951229 - 0.367879) / 2.350402, abs=1e-6)
    assert augmentation_robust(0.2, 0.1) == pytest.approx(
        (1.161834 - 0.367879) / 2.350402, abs=1e-6
    )
    assert label_robust(-1.0, 1.0) == pytest.approx(0)
    assert label_robust(1.0, 0.0, weight=1.0) == pytest.approx(1)


class Killed(Exception):
    pass


def test_a_killed_evaluation_goes_on(pixels, tiny, cache):
    calls = []

    def kill(progress):
        calls.append(progress.stage)
        if progress.stage.startswith("random") and progress.step == 3:
            raise Killed

    with pytest.raises(Killed):
        evaluate(pixels, protocol=tiny, progress=kill)
    stages = []
    report = evaluate(pixels, protocol=tiny, progress=lambda p: stages.append(p.stage))
    assert not [stage for stage in stages if stage.startswith("distilled")]
    assert len(stages) == 2 * 12
    assert timeless(report) == timeless(evaluate(pixels, protocol=tiny, resume=False))
    assert not [*cache.rglob("*.json")]


def test_a_teacher_is_short_and_is_not_trained_again(pixels, tiny, monkeypatch):
    monkeypatch.setattr(runner, "TAUGHT", 5)
    epochs = tiny.model_copy(update={"steps": None, "epochs": 2})
    options = {"protocol": epochs, "seeds": [0], "baselines": ["soft"]}
    lessons, later = [], []

    def kill(progress):
        if progress.stage.startswith("soft"):
            raise Killed
        if progress.stage.startswith("teacher"):
            lessons.append((progress.step, progress.steps))

    with pytest.raises(Killed):
        evaluate(pixels, progress=kill, **options)
    assert lessons == [(step, 5) for step in range(1, 6)]
    report = evaluate(pixels, progress=lambda p: later.append(p.stage), **options)
    assert set(later) == {"soft, convnet-w4, network 1 of 1"}
    assert timeless(report) == timeless(evaluate(pixels, resume=False, **options))


@pytest.mark.parametrize(
    ("length", "steps"),
    [({"epochs": 1}, 81), ({"epochs": 100}, 1500), ({"steps": 12}, 12)],
)
def test_a_teacher_is_trained_as_the_protocol_says_for_at_most_1500_steps(
    digits, tiny, length, steps
):
    protocol = tiny.model_copy(update={"steps": None} | length)
    assert runner.lessons(Ground(digits, digits.test, protocol, torch.device("cpu"))) == steps


def test_networks_do_not_find_each_others_trials(pixels, tiny):
    """Killed in the second network's last row, it goes on with what is its own."""
    options = {"protocol": tiny, "nets": ["mlp", "lenet"], "baselines": ["soft", "compressed"]}
    seen = []

    def kill(progress):
        seen.append(progress)
        if progress.stage == "compressed, lenet, network 2 of 2" and progress.step == 12:
            raise Killed

    with pytest.raises(Killed):
        evaluate(pixels, progress=kill, **options)
    report = evaluate(pixels, **options)
    whole = evaluate(pixels, resume=False, **options)
    assert timeless(report) == timeless(whole)
    assert [row.note for row in report.rows] == [row.note for row in whole.rows]


def timeless(report):
    return [
        (row.name, trial.seed, trial.accuracy, trial.loss)
        for row in report.rows
        for trial in row.trials
    ]


def test_what_decides_the_numbers_decides_where_they_are_kept(pixels, tiny, digits):
    plan = planner.plan(pixels, protocol=tiny)
    others = [
        planner.plan(pixels, protocol=tiny.model_copy(update={"batch": 17})),
        planner.plan(DistilledDataset(pixels.artifact, seed=1), protocol=tiny),
        planner.plan(DistilledDataset(pixels.artifact, draws_per_class=4), protocol=tiny),
        planner.plan(pixels, protocol=tiny, split="validation"),
        planner.plan(pixels, protocol=tiny, compile=True),
    ]
    task = load_task("digits", validation=0.3)
    others.append(planner.plan(pixels, task, protocol=tiny))
    others.append(replace(plan, ground=replace(plan.ground, device=torch.device("meta"))))
    folders = {one.desk.folder for one in (plan, *others)}
    assert len(folders) == 8
    fewer = planner.plan(pixels, protocol=tiny, baseline_seeds=[0]).desk
    assert fewer.folder == plan.desk.folder
    assert fewer.claim != plan.desk.claim
    assert plan.desk == planner.plan(pixels, protocol=tiny).desk


@pytest.mark.parametrize("what", ["threads", "versions"])
def test_other_arithmetic_is_kept_elsewhere(pixels, tiny, monkeypatch, what):
    before = planner.plan(pixels, protocol=tiny).desk
    if what == "threads":
        monkeypatch.setattr(planner.training, "threads", lambda size, share: 7)
    else:
        assert {"torch", "torchvision"} <= set(planner.VERSIONS)
        monkeypatch.setitem(planner.VERSIONS, "torchvision", "0")
    assert planner.plan(pixels, protocol=tiny).desk != before


def test_sets_that_differ_anywhere_are_kept_elsewhere(digits):
    images, labels = torch.zeros(5000, 1, 8, 8), torch.arange(5000) % 10
    one = validate.identity(Photographs(images, labels))
    assert one == validate.identity(Photographs(images.clone(), labels.clone()))
    images[4999, 0, 7, 7], other = 1, labels.clone()
    assert one != validate.identity(Photographs(images, labels))
    images[4999], other[4999] = 0, 0
    assert one != validate.identity(Photographs(images, other))


def test_what_was_trained_is_kept_until_the_report_is(pixels, tiny, cache):
    plan = planner.plan(pixels, protocol=tiny, baselines=())
    report = plan.run()
    again = plan.run(progress=untouched)
    assert timeless(report) == timeless(again)
    plan.clear()
    assert not [*cache.rglob("*.json")]


@pytest.mark.parametrize(
    "changes", [{"seeds": [0]}, {"nets": ["mlp"]}, {"baselines": ["random"]}, {"scores": True}]
)
def test_what_is_cleared_is_of_one_evaluation_alone(pixels, tiny, changes):
    options = {"protocol": tiny, "baselines": ["random", "real"]}
    kept, other = (planner.plan(pixels, **options | more) for more in ({}, changes))
    report = kept.run()
    other.run()
    other.clear()
    assert timeless(kept.run(progress=untouched)) == timeless(report)


def test_a_trial_is_found_by_every_evaluation_that_asks_for_it(pixels, tiny, cache):
    options = {"protocol": tiny, "baselines": ["random", "real"]}
    whole, less = planner.plan(pixels, **options), planner.plan(pixels, protocol=tiny)
    report = whole.run()
    rows = [row for row in report.rows if row.name != "real"]
    assert timeless(less.run(progress=untouched)) == timeless(
        report.model_copy(update={"rows": tuple(rows)})
    )
    less.clear()
    assert timeless(whole.run(progress=untouched)) == timeless(report)
    whole.clear()
    assert not [file for file in cache.rglob("*") if file.is_file()]


def test_a_task_that_cannot_fit_is_not_fetched(pixels, monkeypatch):
    monkeypatch.setattr(planner, "load_task", lambda *_, **__: pytest.fail("it was fetched"))
    with pytest.raises(DataError, match="10 classes of 1x8x8 images and cifar10 has 10 classes"):
        planner.plan(pixels, "cifar10")


def test_kinds_of_labels_are_different_trials(priors, digits, tiny):
    soft, hard = (
        planner.plan(priors, digits, protocol=tiny, labels=[kind], baselines=())
        for kind in ("soft", "hard")
    )
    seen = []
    soft.run()
    hard.run(progress=seen.append)
    assert len(seen) == 2 * tiny.steps


def test_networks_train_on_the_threads_that_the_report_says(pixels, tiny, monkeypatch):
    monkeypatch.setattr(planner.training, "threads", lambda size, share: 3)
    seen = set()
    plan = planner.plan(pixels, protocol=tiny, seeds=[0], baselines=())
    report = plan.run(progress=lambda progress: seen.add(torch.get_num_threads()))
    assert seen == {report.threads} == {3}
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("draws", ["set", "items"])
def test_a_plan_has_the_terms_of_its_report(priors, digits, tiny, draws):
    protocol = tiny.model_copy(update={"steps": None, "epochs": 2, "draws": draws})
    options = {"seeds": [3, 1], "nets": ["mlp", "lenet"], "split": "validation", "baselines": ()}
    data = DistilledDataset(priors.artifact, draws_per_class=9)
    plan = planner.plan(data, digits, protocol=protocol, **options)
    assert plan.terms == Terms.of(plan.run())


def test_an_estimate_counts_networks_and_steps(pixels, tiny):
    several = tiny.model_copy(update={"learning_rates": (0.1, 0.05)})
    plan = planner.plan(pixels, protocol=several, baselines=["random", "soft", "compressed"])
    found = plan.estimate()
    counts = {row.name: (row.networks, row.steps) for row in found.rows}
    assert counts == {
        "distilled": (2 + 2, 12),
        "random": (2 + 2, 12),
        "soft": (2 + 2, 12),
        "compressed": (2 + 2, 12),
        "choosing compressed, 1/8 of the steps": (12, 1),
        "choosing compressed, 1/4 of the steps": (4, 3),
        "choosing compressed, 1/2 of the steps": (2, 6),
        "teacher": (1, 12),
    }
    assert found.seconds == pytest.approx(sum(r.networks * r.seconds for r in found.rows))
    assert min(row.seconds for row in found.rows) > 0


def test_an_estimate_counts_as_it_will_be(priors, digits, tiny, monkeypatch):
    """Under epochs every row has its own length; scores train some rows once more."""
    monkeypatch.setattr(Course, "_look", lambda self, step: pytest.fail("it looked"))
    epochs = tiny.model_copy(update={"steps": None, "epochs": 3})
    options = {"baselines": ["random", "means", "compressed"], "scores": True}
    plan = planner.plan(priors, digits, protocol=epochs, **options)
    found = [(row.name, row.steps) for row in plan.estimate().rows]
    monkeypatch.undo()
    report = plan.run()
    steps = [(row.name, row.trials[0].steps) for row in report.rows if row.name != "compressed"]
    assert [one for one in found if one in steps] == steps
    more = [name for name, _ in found if name.endswith("without augmentation")]
    assert more == [f"{name} without augmentation" for name in ("distilled", "soft", "teacher")]


def test_a_protocol_may_say_which_labels(priors, pixels, digits, tiny):
    for kind in ("hard", "soft"):
        protocol = tiny.model_copy(update={"labels": kind})
        sets = planner.plan(priors, digits, protocol=protocol, baselines=()).sets
        assert [one.soft_labels for one in sets] == [kind == "soft"]
    with pytest.raises(D3DataError, match="has hard labels"):
        planner.plan(pixels, digits, protocol=protocol, baselines=())
    asked = planner.plan(priors, digits, protocol=protocol, labels=["hard"], baselines=())
    assert [one.soft_labels for one in asked.sets] == [False]


def test_real_images_are_trained_on_for_as_long_as_the_set(priors, digits, tiny):
    """And for as long again with each rate that is tried."""
    length = {"steps": None, "epochs": 2, "draws": "items", "learning_rates": (0.05, 0.01)}
    epochs, events = tiny.model_copy(update=length), []
    data = DistilledDataset(priors.artifact, draws_per_class=9)
    options = {"seeds": [0], "baselines": ["real"], "progress": events.append}
    own, real = evaluate(data, digits, protocol=epochs, **options).rows
    assert (own.draws, own.trials[0].steps) == (40, 2 * 3)
    assert (real.trials[0].steps, real.trials[0].images) == (6, 6 * 16)
    assert [event.step for event in events] == [*range(1, 7)] * 6


def test_each_round_of_codecs_is_trained_for_its_part_of_the_steps(pixels, tiny):
    events = []
    options = {"seeds": [0], "baselines": ["compressed"], "progress": events.append}
    evaluate(pixels, protocol=tiny, **options)
    choosing = [event for event in events if event.stage.startswith("choosing")]
    last = {event.stage.rpartition(", ")[2]: event.step for event in choosing}
    assert last == {
        "1/8 of the steps": 1,
        "1/4 of the steps": 3,
        "1/2 of the steps": 6,
    }


def test_nothing_is_chosen_on_test_images(pixels, digits, tiny):
    """With rates and a codec to choose, and a teacher, only finished networks have seen any."""
    spy, finals = Spy(digits.test), []

    def watch(progress):
        final = " of 2" in progress.stage
        if final and progress.stage not in finals:
            finals.append(progress.stage)
        assert len(spy.seen) == len(digits.test) * (len(finals) - final)
        if not final:
            assert len(finals) % 2 == 0

    several = tiny.model_copy(update={"learning_rates": (0.05, 0.01)})
    options = {"baselines": ["compressed", "herding", "soft"], "resume": False}
    evaluate(pixels, replace(digits, test=spy), protocol=several, progress=watch, **options)
    assert len(finals) == 8
    assert len(spy.seen) == 8 * len(digits.test)


@pytest.mark.parametrize(
    ("changes", "baselines", "what"),
    [
        ({"learning_rates": (0.1, 0.05)}, ["random"], "a learning rate"),
        ({}, ["random", "compressed"], "compressed"),
    ],
)
def test_what_is_chosen_needs_validation_images(pixels, digits, tiny, changes, baselines, what):
    bare, protocol = replace(digits, validation=range(0)), tiny.model_copy(update=changes)
    with pytest.raises(DataError, match=f"no validation images, on which {what} would be chosen"):
        planner.plan(pixels, bare, protocol=protocol, baselines=baselines)
    planner.plan(pixels, bare, protocol=tiny, baselines=["random"])


def test_random_images_differ_from_network_to_network(pixels, tiny, monkeypatch):
    drawn = []

    def recorded(setting, *, rng):
        rival = baselines.random(setting, rng=rng)
        drawn.append(rival.draws.images)
        return rival

    monkeypatch.setitem(baselines.baselines, "random", recorded)
    evaluate(pixels, protocol=tiny)
    assert len(drawn) == 2
    assert not torch.equal(*drawn)


@pytest.mark.parametrize(("rates", "middle"), [((1e30, 0.05), True), ((1e30,), False)])
def test_a_teacher_learns_at_the_middle_rate_and_says_where_it_fails(pixels, tiny, rates, middle):
    protocol = tiny.model_copy(update={"learning_rates": rates})
    plan = planner.plan(pixels, protocol=protocol, baselines=["soft"])
    (network, build), *_ = plan.builds.items()
    setting = Bench(plan.ground, (0,), (0,)).setting(pixels, network, build)
    if middle:
        assert setting.teach() is not None
    else:
        with pytest.raises(TrainingError, match="teacher, convnet-w4: after step 1 of 12"):
            setting.teach()


def test_labels_that_are_shuffled_teach_nothing(digits, tiny):
    """The evaluator can say no: images with labels drawn anew for every draw."""

    class Shuffled(Photographs):
        def batch(self, epoch, indices, *, device):
            images, labels = super().batch(epoch, indices, device=device)
            rng = generator(epoch, "shuffled", int(indices.sum()))
            return images, torch.randint(10, labels.shape, generator=rng)

    everything = torch.arange(len(digits.train))
    draws = Shuffled(digits.train.read(everything), digits.train.labels)
    longer = tiny.model_copy(update={"steps": 200})
    report = evaluate(draws, digits, protocol=longer, baselines=["real"])
    chance, real = report.rows
    assert abs(chance.mean - 0.1) < 0.08
    assert real.mean > 0.8


class Given(torch.utils.data.Dataset):
    """Images of the digits as somebody else might have them."""

    def __init__(self, digits, kind):
        self.split, self.kind = digits.train, kind

    def __len__(self):
        return 60

    def __getitem__(self, index):
        pixels, label = self.split.pixels([index])[0], int(self.split.labels[index])
        if self.kind == "float":
            return self.split.read([index])[0], torch.tensor(label)
        if self.kind == "array":
            return pixels[0].numpy(), label
        if self.kind in ("dict", "hugging face"):
            return {"image": PIL.fromarray(pixels[0].numpy()), "label": label, "more": None}
        return (PIL.fromarray(pixels[0].numpy()) if self.kind == "pil" else pixels), label

    def __getattr__(self, name):
        if name == "batch" and self.kind == "hugging face":  # as `datasets.Dataset` has one
            return lambda batch_size, drop_last_batch=False: None
        raise AttributeError(name)


@pytest.mark.parametrize("kind", ["float", "uint8", "pil", "array", "dict", "hugging face"])
def test_a_data_set_of_anybodys_is_evaluated(digits, tiny, kind):
    report = evaluate(Given(digits, kind), digits, protocol=tiny, seeds=[0], baselines=())
    images = digits.train.read(range(60))
    same = evaluate(
        Photographs(images, digits.train.labels[:60]),
        digits,
        protocol=tiny,
        seeds=[0],
        baselines=(),
    )
    assert report.rows[0].trials[0].loss == pytest.approx(same.rows[0].trials[0].loss, rel=1e-5)
    assert report.data == "Given"


def test_a_folder_of_images_is_evaluated(digits, tiny, tmp_path):
    rows = drawn(digits.train, 3, generator(0))
    for number, row in enumerate(rows.tolist()):
        place = tmp_path / "own" / str(int(digits.train.labels[row])) / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        PIL.fromarray(digits.train.pixels([row])[0, 0].numpy()).save(place)
    report = evaluate(tmp_path / "own", "digits", protocol=tiny, seeds=[0], baselines=["random"])
    still = Photographs(digits.train.read(rows), digits.train.labels[rows])
    same = evaluate(still, digits, protocol=tiny, seeds=[0], baselines=())
    assert report.rows[0].trials[0].loss == pytest.approx(same.rows[0].trials[0].loss, rel=1e-5)
    assert report.rows[1].images_per_class == 3
    (tmp_path / "own" / "3").rename(tmp_path / "own" / "three")
    with pytest.raises(DataError, match="classes that digits does not have: three"):
        evaluate(tmp_path / "own", "digits", protocol=tiny)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda n: torch.zeros(1, 8, 8), "no image with a label"),
        (lambda n: {"img": torch.zeros(1, 8, 8), "label": 1}, "KeyError"),
        (lambda n: (torch.zeros(1, 8, 8), "cat"), "no image with a label"),
        (lambda n: (np.zeros((8, 8)), 1), "8 bits"),
        (lambda n: (torch.zeros(1, 8, 4 + n % 2), 1), "differ in shape"),
    ],
)
def test_samples_that_are_none_are_named(digits, tiny, sample, message):
    class Data(Given):
        def __getitem__(self, index):
            return sample(index)

    with pytest.raises(DataError, match=message):
        evaluate(Data(digits, ""), digits, protocol=tiny, progress=untouched)


@pytest.mark.parametrize("data", [{1: 2}.keys(), 5, iter([])])
def test_what_nobody_can_train_on_is_refused(digits, tiny, data):
    with pytest.raises(DataError, match="cannot be trained on"):
        evaluate(data, digits, protocol=tiny)


def test_baselines_may_have_fewer_networks_than_the_set(pixels, tiny):
    plan = planner.plan(
        pixels, protocol=tiny, seeds=range(3), baselines=("random", "real"), baseline_seeds=[0]
    )
    report = plan.run()
    assert [[t.seed for t in row.trials] for row in report.rows] == [[0, 1, 2], [0], [0]]
    assert [guess.networks for guess in plan.estimate().rows] == [3, 1, 1]
    alone = evaluate(pixels, protocol=tiny, seeds=range(3), baselines="none")
    assert timeless(alone) == timeless(report)[:3]
    for text in (report.table(), measured(report)):
        assert "3 networks on the set, 1 on each baseline" in text
    assert "3 networks for each row" in alone.table()
    with pytest.raises(DataError, match=r"baseline_seeds=2: a list is needed"):
        planner.plan(pixels, protocol=tiny, baseline_seeds=2)


def test_with_several_networks_the_baselines_may_have_more_seeds(pixels, tiny):
    report = evaluate(
        pixels, protocol=tiny, nets=["lenet", "mlp"], seeds=[0], baseline_seeds=range(2)
    )
    assert [len(row.trials) for row in report.rows] == [1, 2, 1, 2]
    assert "1 network on the set, 2 on each baseline" in report.table()


@toys.compiler
def test_compiled_networks_learn_the_same_and_the_report_says_so(pixels, tiny, monkeypatch):
    seen = Counter()
    call = Compute.__call__

    def spy(self, function, *inputs):
        seen[self.compile, function.__name__] += 1
        return call(self, function, *inputs)

    monkeypatch.setattr(Compute, "__call__", spy)
    options = {"protocol": tiny, "seeds": [0], "baselines": "none"}
    written = evaluate(pixels, **options)
    compiled = evaluate(pixels, compile=True, **options)
    one, other = (report.rows[0].trials[0] for report in (written, compiled))
    assert seen == {(False, "logits"): one.steps, (True, "logits"): other.steps}
    assert other.loss == pytest.approx(one.loss, rel=1e-2)
    assert (written.compiled, compiled.compiled) == (False, True)
    assert "1 thread, compiled, d3data" in measured(compiled)
    assert "compiled" not in measured(written)


def test_a_loop_of_ones_own_is_not_compiled_for_it(pixels, tiny):
    with pytest.raises(TrainingError, match="leave compile out"):
        evaluate(pixels, protocol=tiny, train=lambda network, draws, **more: None, compile=True)
