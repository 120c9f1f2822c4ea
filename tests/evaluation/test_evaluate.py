"""evaluate(): rows and numbers, and laws of the comparison."""

from collections import Counter
from dataclasses import replace
from importlib import import_module

import pytest
import torch
from PIL import Image as PIL

import d3data
from d3data.data.dataset import DistilledDataset
from d3data.errors import D3DataError, DataError, TrainingError
from d3data.evaluation import Runner, baselines, evaluate, plan, planner
from d3data.evaluation.baselines import Photographs
from d3data.evaluation.baselines.choices import random_rows
from d3data.evaluation.comparison import Comparability
from d3data.evaluation.report import measured
from d3data.evaluation.scores import augmentation_robust, label_robust, robust
from d3data.evaluation.trial_training import TrialTraining
from d3data.nets.compute import Compute
from d3data.utils.rng import generator
from reports import row
from spies import Spy, linear, outcomes

compressed = import_module("d3data.evaluation.baselines.compressed_images")


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
    assert [row.rates for row in report.rows] == [(), ()]


def test_the_set_may_be_named_by_its_folder(report, pixels, tiny):
    """And progress counts every step of every network."""
    events = []
    options = {"seeds": [1, 0], "baselines": "random", "progress": events.append}
    again = evaluate(pixels.artifact.folder, protocol=tiny, **options)
    assert sorted(outcomes(again)) == sorted(outcomes(report))
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages == [
        f"{row}, convnet-w4, network {n} of 2" for row in ("distilled", "random") for n in (1, 2)
    ]
    assert [event.step for event in events] == [*range(1, 13)] * 4
    assert all(event.steps == 12 and event.loss > 0 for event in events)


def test_the_same_images_as_tensors_train_alike_and_validation_is_tested_on(
    report, pixels, digits, tiny
):
    data = Photographs(*pixels.batch(0, range(len(pixels))))
    same = evaluate(data, digits, protocol=tiny, baselines=())
    assert outcomes(same) == outcomes(report)[:2]
    assert (same.data, same.content_sha256) == ("Photographs", None)
    hidden, options = replace(digits, test=None), {"seeds": [0], "baselines": ()}
    report = evaluate(pixels, hidden, protocol=tiny, split="validation", **options)
    assert (report.split, report.tests) == ("validation", len(digits.validation))


def test_a_loss_or_logits_that_are_not_finite_stop_and_say_where(pixels, digits, tiny):
    class Breaking(Photographs):
        def batch(self, epoch, indices, *, device):
            images, labels = super().batch(epoch, indices, device=device)
            return images * (torch.nan if epoch == 5 else 1), labels

    rows = random_rows(digits.train, 2, generator(0))
    data = Breaking(digits.train.read(rows), digits.train.labels[rows])
    with pytest.raises(TrainingError, match=r"network 1 of 2 \(seed 0\).* step \d of 12.*0\.05"):
        evaluate(data, digits, protocol=tiny)

    def ruin(network, data, *, seed, device):
        with torch.no_grad():
            network[1].bias[3] = torch.nan

    with pytest.raises(TrainingError, match=r"distilled, mine.*seed 0\).*logits are not finite"):
        evaluate(pixels, protocol=tiny, networks={"mine": linear}, train=ruin)


def test_networks_by_name_and_by_norm(pixels, tiny):
    """And the baselines may have more seeds than the set, with several networks too."""
    short = tiny.model_copy(update={"steps": 1, "networks": 1})
    nets = ["mlp", "lenet", "lenet/batch"]
    report = evaluate(
        pixels, protocol=short, nets=nets, baselines="random", baseline_seeds=range(2)
    )
    assert [row.network for row in report.rows[::2]] == nets
    assert len({row.trials[0].loss for row in report.rows[::2]}) == 3
    assert [len(row.trials) for row in report.rows] == [1, 2] * 3
    assert "1 network on the set, 2 on each baseline" in report.table()


def test_ones_own_networks_and_loop(pixels, tiny, cache):
    def train(network, data, *, seed, device):
        images, labels = data.batch(0, torch.arange(len(data)), device=device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()

    report = evaluate(
        pixels, protocol=tiny, networks={"mine": linear}, train=train, baselines="random"
    )
    assert [row.network for row in report.rows] == ["mine", "mine"]
    first = report.rows[0].trials[0]
    assert (first.images, first.loss, first.learning_rate) == (30, None, None)
    assert report.rows[0].mean > 0.3
    assert not cache.exists()
    assert report.own_loop
    assert "trained by the user’s own loop" in measured(report)
    assert Comparability.of(report).steps == 30


def test_of_several_rates_the_best_on_validation_is_taken(pixels, tiny):
    """Not one that diverges, nor one that does not learn."""
    several = tiny.model_copy(update={"learning_rates": (1e30, 1e-6, 0.05)})
    (one,) = evaluate(pixels, protocol=several, seeds=[0], baselines=()).rows
    rates = dict(one.rates)
    assert set(rates) == {1e30, 1e-6, 0.05}
    assert (rates[1e30], rates[0.05]) == (0, max(rates.values()))
    assert {trial.learning_rate for trial in one.trials} == {0.05}


def test_scores_are_those_of_the_rows(pixels, tiny):
    report = evaluate(pixels, protocol=tiny, scores=True, seeds=[0], baselines=())
    assert [row.name for row in report.rows] == ["distilled", "random", "real"]
    own, random, real = (row.mean for row in report.rows)
    bare = tiny.model_copy(update={"augment": "none"})
    plain = [
        row.mean for row in evaluate(pixels, protocol=bare, seeds=[0], baselines="random").rows
    ]
    expected = {
        "recovery": real - own,
        "improvement": own - random,
        "label_robust": label_robust(own - random, real - own),
        "augmentation_robust": augmentation_robust(own - random, plain[0] - plain[1]),
    }
    assert report.scores.dump() == pytest.approx(expected)
    assert "LRS" in report.table()
    setup = plan(pixels, protocol=tiny.model_copy(update={"mix": "cutmix"})).setup
    plain = Runner(setup, "mine", linear, (0,), (0,)).unaugmented().setup.protocol
    assert (plain.augment, plain.mix) == ("none", "none")


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
    planned = plan(priors, digits, protocol=tiny, labels=labels, scores=True, baselines="random")
    assert [one.soft_labels for one in planned.sets] == soft
    assert list(planned.baselines) == rivals


def test_recovery_is_that_of_hard_labels():
    plain = [row("distilled", 0.7, labels="soft"), row("soft", 0.6, labels="soft")]
    own = row("distilled", 0.9, labels="soft"), row("distilled", 0.5)
    scores = robust([*own, plain[1], row("real", 0.8)], plain)
    assert (scores.recovery, scores.improvement) == pytest.approx((0.8 - 0.5, 0.9 - 0.6))
    hard = [row("distilled", 0.9), row("random", 0.5), row("real", 0.8)]
    scores = robust(hard, hard)
    assert (scores.recovery, scores.improvement) == pytest.approx((0.8 - 0.9, 0.9 - 0.5))


def test_scores_by_hand():
    """(e^a - 1/e) / (e - 1/e) for a = (0.2 - 0.3) / 2, and for b = (0.2 + 0.1) / 2."""
    assert label_robust(0.2, 0.3) == pytest.approx((0.951229 - 0.367879) / 2.350402, abs=1e-6)
    expected = (1.161834 - 0.367879) / 2.350402
    assert augmentation_robust(0.2, 0.1) == pytest.approx(expected, abs=1e-6)
    assert label_robust(-1.0, 1.0) == pytest.approx(0)
    assert label_robust(1.0, 0.0, weight=1.0) == pytest.approx(1)


def test_networks_train_on_the_threads_that_the_report_says(pixels, tiny, monkeypatch):
    monkeypatch.setattr(planner, "useful_threads", lambda size, share: 3)
    seen = set()
    planned = plan(pixels, protocol=tiny, seeds=[0], baselines=())
    report = planned.run(progress=lambda progress: seen.add(torch.get_num_threads()))
    assert seen == {report.threads} == {3}
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("draws", ["set", "items"])
def test_a_plan_is_comparable_with_its_report(priors, digits, tiny, draws):
    protocol = tiny.model_copy(update={"steps": None, "epochs": 2, "draws": draws})
    options = {"seeds": [3, 1], "nets": ["mlp", "lenet"], "split": "validation", "baselines": ()}
    data = DistilledDataset(priors.artifact, draws_per_class=9)
    planned = plan(data, digits, protocol=protocol, **options)
    assert planned.comparability == Comparability.of(planned.run())


def test_an_estimate_counts_networks_and_steps(pixels, tiny):
    several = tiny.model_copy(update={"learning_rates": (0.1, 0.05)})
    rivals = ["random", "soft", "compressed"]
    estimate = plan(pixels, protocol=several, baselines=rivals).estimate()
    counts = {row.name: (row.networks, row.steps) for row in estimate.rows}
    assert counts == {
        **dict.fromkeys(("distilled", "random", "soft", "compressed"), (2 + 2, 12)),
        "choosing compressed, 1/8 of the steps": (3, 1),
        "teacher": (1, 12),
    }
    assert estimate.seconds == pytest.approx(sum(r.networks * r.seconds for r in estimate.rows))
    assert min(row.seconds for row in estimate.rows) > 0
    assert estimate.table().splitlines()[0] == "protocol tiny"


def test_an_estimate_counts_as_it_will_be(priors, digits, tiny, monkeypatch):
    """Under epochs every row has its own length; scores train some rows once more."""
    monkeypatch.setattr(compressed, "QUALITIES", {"jpeg": (30,), "webp": (30,)})
    epochs = tiny.model_copy(update={"steps": None, "epochs": 1})
    options = {"baselines": ["random", "means", "compressed"], "scores": True, "seeds": [0]}
    planned = plan(priors, digits, protocol=epochs, **options)
    with monkeypatch.context() as blind:
        blind.setattr(TrialTraining, "_validate", lambda *_: pytest.fail("it validated"))
        rows = [(row.name, row.steps) for row in planned.estimate().rows]
    report = planned.run()
    steps = [(row.name, row.trials[0].steps) for row in report.rows if row.name != "compressed"]
    assert [row for row in rows if row in steps] == steps
    more = [name for name, _ in rows if name.endswith("without augmentation")]
    assert more == [f"{name} without augmentation" for name in ("distilled", "soft", "teacher")]


def test_a_protocol_may_say_which_labels(priors, pixels, digits, tiny):
    for kind in ("hard", "soft"):
        protocol = tiny.model_copy(update={"labels": kind})
        sets = plan(priors, digits, protocol=protocol, baselines=()).sets
        assert [one.soft_labels for one in sets] == [kind == "soft"]
    with pytest.raises(D3DataError, match="has hard labels"):
        plan(pixels, digits, protocol=protocol, baselines=())
    asked = plan(priors, digits, protocol=protocol, labels=["hard"], baselines=())
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


def test_nothing_is_chosen_on_test_images(pixels, digits, tiny, monkeypatch):
    """With rates and a codec to choose, and a teacher, only finished networks have seen any.

    Each round of codecs is trained for its part of the steps.
    """
    monkeypatch.setattr(compressed, "QUALITIES", {"jpeg": (5, 30), "webp": (5, 30)})
    spy, finals, choosing = Spy(digits.test), [], {}

    def watch(progress):
        final = " of 1" in progress.stage
        if final and progress.stage not in finals:
            finals.append(progress.stage)
        assert len(spy.seen) == len(digits.test) * (len(finals) - final)
        if progress.stage.startswith("choosing"):
            choosing[progress.stage.rpartition(", ")[2]] = progress.step

    several = tiny.model_copy(update={"learning_rates": (0.05, 0.01), "steps": 8})
    options = {"baselines": ["compressed", "herding", "soft"], "seeds": [0], "resume": False}
    evaluate(pixels, replace(digits, test=spy), protocol=several, progress=watch, **options)
    assert len(finals) == 4
    assert len(spy.seen) == 4 * len(digits.test)
    assert choosing == {"1/16 of the steps": 1}


def test_random_images_differ_from_network_to_network(pixels, tiny, monkeypatch):
    drawn = []

    def recorded(context, *, rng):
        row = baselines.choices.random(context, rng=rng)
        drawn.append(row.data.images)
        return row

    monkeypatch.setitem(baselines.baselines, "random", recorded)
    evaluate(pixels, protocol=tiny.model_copy(update={"steps": 1}), baselines="random")
    assert len(drawn) == 2
    assert not torch.equal(*drawn)


def test_a_teacher_learns_at_the_middle_rate_and_says_where_it_fails(pixels, tiny):
    def teacher(*rates):
        protocol = tiny.model_copy(update={"learning_rates": rates})
        planned = plan(pixels, protocol=protocol, baselines=["soft"])
        (network, build), *_ = planned.builds.items()
        context = Runner(planned.setup, network, build, (0,), (0,)).context(pixels)
        return context.train_teacher()

    assert teacher(1e30, 0.05) is not None
    with pytest.raises(TrainingError, match="teacher, convnet-w4: after step 1 of 12"):
        teacher(1e30)


def test_labels_that_are_shuffled_teach_nothing(digits, tiny):
    """The evaluator can say no: images with labels drawn anew for every draw."""

    class Shuffled(Photographs):
        def batch(self, epoch, indices, *, device):
            images, labels = super().batch(epoch, indices, device=device)
            rng = generator(epoch, "shuffled", int(indices.sum()))
            return images, torch.randint(10, labels.shape, generator=rng)

    everything = torch.arange(len(digits.train))
    data = Shuffled(digits.train.read(everything), digits.train.labels)
    longer = tiny.model_copy(update={"steps": 200})
    options = {"seeds": [0], "baselines": ["real"]}
    chance, real = evaluate(data, digits, protocol=longer, **options).rows
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
    planned = plan(Given(digits, kind), digits, protocol=tiny, baselines=())
    images, labels = planned.sets[0].batch(3, torch.tensor([5, 0]), device=torch.device("cpu"))
    torch.testing.assert_close(images, digits.train.read([5, 0]))
    assert torch.equal(labels, digits.train.labels[[5, 0]])
    assert (planned.name, len(planned.data)) == ("Given", 60)


def test_a_folder_of_images_is_evaluated(digits, tiny, tmp_path):
    rows = random_rows(digits.train, 3, generator(0))
    for number, index in enumerate(rows.tolist()):
        place = tmp_path / "own" / str(int(digits.train.labels[index])) / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        PIL.fromarray(digits.train.pixels([index])[0, 0].numpy()).save(place)
    short = tiny.model_copy(update={"steps": 4, "networks": 1})
    report = evaluate(tmp_path / "own", "digits", protocol=short, baselines=["random"])
    still = Photographs(digits.train.read(rows), digits.train.labels[rows])
    same = evaluate(still, digits, protocol=short, baselines=())
    assert report.rows[0].trials[0].loss == pytest.approx(same.rows[0].trials[0].loss, rel=1e-5)
    assert report.rows[1].images_per_class == 3
    (tmp_path / "own" / "3").rename(tmp_path / "own" / "three")
    with pytest.raises(DataError, match="classes that are not in the task: 'three'"):
        evaluate(tmp_path / "own", "digits", protocol=tiny)


def test_baselines_may_have_fewer_networks_than_the_set(report, pixels, tiny):
    options = {"baselines": ("random", "real"), "baseline_seeds": [0]}
    planned = plan(pixels, protocol=tiny, **options)
    fewer = planned.run()
    assert [[t.seed for t in row.trials] for row in fewer.rows] == [[0, 1], [0], [0]]
    assert [row.networks for row in planned.estimate().rows] == [2, 1, 1]
    assert outcomes(fewer)[:3] == outcomes(report)[:3]
    for text in (fewer.table(), measured(fewer)):
        assert "2 networks on the set, 1 on each baseline" in text
    assert "2 networks for each row" in report.table()


@pytest.mark.parametrize(
    ("options", "compute", "said"),
    [
        ({}, Compute(), "1 thread, d3data"),
        ({"compile": True}, Compute(compile=True), "1 thread, compiled, d3data"),
        ({"precision": "float32"}, Compute(), "1 thread, d3data"),
        ({"precision": "bfloat16"}, Compute(precision="bfloat16"), "1 thread, bfloat16, d3data"),
    ],
)
def test_networks_compute_as_asked_and_the_report_says_so(
    options, compute, said, pixels, tiny, monkeypatch
):
    """That they learn the same is shown where `Compute` is."""
    seen = Counter()

    def spy(self, function, *inputs):
        seen[self] += 1
        return function(*inputs)

    monkeypatch.setattr(Compute, "__call__", spy)
    report = evaluate(pixels, protocol=tiny, seeds=[0], baselines="none", **options)
    assert (report.compiled, report.precision) == (compute.compile, compute.precision)
    assert said in measured(report)
    assert seen == {compute: 12}
