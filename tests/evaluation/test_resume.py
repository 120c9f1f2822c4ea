"""An evaluation that is stopped goes on; what it keeps is its own, and is removed in the end."""

from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch

from d3data.data.dataset import DistilledDataset
from d3data.errors import DataError, DeviceError
from d3data.evaluation import (
    EvaluationOptions,
    evaluate,
    evaluation_plan,
    plan,
    planner,
    runner,
    shares,
    validate,
)
from d3data.evaluation.baselines import Photographs
from d3data.evaluation.record import EvalSetup
from d3data.evaluation.trial_cache import TrialCache
from d3data.evaluation.trial_training import TrialTraining
from d3data.executors.slurm import Slurm
from d3data.images.tasks import load_task
from d3data.utils import device as devices
from d3data.utils.device import using_threads
from spies import outcomes, untouched

compressed = import_module("d3data.evaluation.baselines.compressed_images")


class Killed(Exception):
    pass


def killed(when, data, **options):
    """The progress of an evaluation that is killed when `when(progress)`."""
    seen = []

    def kill(progress):
        seen.append(progress)
        if when(progress):
            raise Killed

    with pytest.raises(Killed):
        evaluate(data, progress=kill, **options)
    return seen


def test_a_killed_evaluation_goes_on(pixels, tiny, report, cache):
    options = {"protocol": tiny, "baselines": "random"}
    killed(lambda p: p.stage.startswith("random") and p.step == 3, pixels, **options)
    seen = []
    again = evaluate(pixels, progress=seen.append, **options)
    kept = [(at.stage, at.steps) for at in seen if at.event == "kept"]
    assert kept == [(f"distilled, convnet-w4, network {n} of 2", 12) for n in (1, 2)]
    steps = [at for at in seen if at.event == "step"]
    assert not [at for at in steps if at.stage.startswith("distilled")]
    assert len(steps) == 2 * 12
    assert outcomes(again) == outcomes(report)
    assert not [*cache.rglob("*.json")]


def test_a_teacher_is_short_and_is_not_trained_again(pixels, tiny, monkeypatch):
    monkeypatch.setattr(runner, "MOST_TEACHER_STEPS", 5)
    epochs = tiny.model_copy(update={"steps": None, "epochs": 2})
    options = {"protocol": epochs, "seeds": [0], "baselines": ["soft"]}
    seen = killed(lambda p: p.stage.startswith("soft"), pixels, **options)
    teacher = [(p.step, p.steps) for p in seen if p.stage.startswith("teacher")]
    assert teacher == [(step, 5) for step in range(1, 6)]
    later = []
    report = evaluate(pixels, progress=later.append, **options)
    assert {at.stage for at in later if at.event == "step"} == {"soft, convnet-w4, network 1 of 1"}
    assert outcomes(report) == outcomes(evaluate(pixels, resume=False, **options))


def test_a_teacher_is_trained_as_the_protocol_says_for_at_most_1500_steps(digits, tiny):
    for length, steps in (({"epochs": 1}, 81), ({"epochs": 100}, 1500), ({"steps": 12}, 12)):
        protocol = tiny.model_copy(update={"steps": None} | length)
        setup = EvalSetup(digits, digits.test, protocol, torch.device("cpu"))
        assert runner.teacher_steps(setup) == steps


def test_networks_do_not_find_each_others_trials(pixels, tiny, monkeypatch):
    """Killed in the second network's last row, it goes on with what is its own."""
    monkeypatch.setattr(compressed, "QUALITIES", {"jpeg": (30,), "webp": (30,)})
    short = tiny.model_copy(update={"steps": 2, "networks": 1})
    rows = {"nets": ["mlp", "lenet"], "baselines": ["soft", "compressed"]}
    options = {"protocol": short, **rows}
    last = "compressed, lenet, network 1 of 1"
    killed(lambda p: p.stage == last and p.step == 2, pixels, **options)
    report, whole = evaluate(pixels, **options), evaluate(pixels, resume=False, **options)
    assert outcomes(report) == outcomes(whole)
    assert [row.note for row in report.rows] == [row.note for row in whole.rows]


def test_networks_of_another_codec_are_not_gone_on_with(pixels, tiny, monkeypatch):
    """More networks give the choice more steps, so that it may fall on another codec."""
    chosen = lambda context: compressed.Codec("jpeg", 8, 5 if context.networks == 1 else 90)  # noqa: E731
    monkeypatch.setattr(compressed, "best", chosen)
    options = {"protocol": tiny, "seeds": [0], "baselines": ["compressed"]}
    plan(pixels, baseline_seeds=[0], **options).run()
    more = plan(pixels, baseline_seeds=[0, 1], **options)
    row = more.run().rows[1]
    more.clear()
    whole = evaluate(pixels, baseline_seeds=[0, 1], resume=False, **options).rows[1]
    assert row.note == whole.note == "jpeg sheets of 8 px at quality 90"
    assert [one.loss for one in row.trials] == [one.loss for one in whole.trials]


def test_networks_of_other_steps_are_not_taken(priors, digits, tiny):
    """Real images are trained on as long as the set, whose kinds of labels differ in that."""
    epochs = tiny.model_copy(update={"steps": None, "epochs": 3, "draws": "means"})
    options = {"protocol": epochs, "baselines": ["real"], "seeds": [0]}
    plan(priors, digits, labels=["soft"], **options).run()
    kept = plan(priors, digits, labels=["hard"], **options).run().rows
    alone = evaluate(priors, digits, labels=["hard"], resume=False, **options).rows
    for row, other in zip(kept, alone, strict=True):
        assert [one.steps for one in row.trials] == [one.steps for one in other.trials]


def test_what_decides_the_numbers_decides_where_they_are_kept(pixels, tiny, digits):
    first = plan(pixels, protocol=tiny)
    others = [
        plan(pixels, protocol=tiny.model_copy(update={"batch": 17})),
        plan(DistilledDataset(pixels.artifact, seed=1), protocol=tiny),
        plan(DistilledDataset(pixels.artifact, draws_per_class=4), protocol=tiny),
        plan(pixels, protocol=tiny, split="validation"),
        plan(pixels, protocol=tiny, compile=True),
        plan(pixels, load_task("digits", validation=0.3), protocol=tiny),
        replace(first, setup=replace(first.setup, device=torch.device("meta"))),
    ]
    assert len({one.cache.folder for one in (first, *others)}) == 8
    fewer = plan(pixels, protocol=tiny, baseline_seeds=[0]).cache
    assert fewer.folder == first.cache.folder
    assert fewer.owner != first.cache.owner
    assert first.cache == plan(pixels, protocol=tiny).cache


def test_other_arithmetic_and_sets_that_differ_anywhere_are_kept_elsewhere(
    pixels, tiny, monkeypatch
):
    before = plan(pixels, protocol=tiny).cache
    with monkeypatch.context() as other:
        other.setattr(planner, "useful_threads", lambda size, share: 7)
        assert plan(pixels, protocol=tiny).cache != before
    assert {"torch", "torchvision"} <= set(evaluation_plan.VERSIONS)
    monkeypatch.setitem(evaluation_plan.VERSIONS, "torchvision", "0")
    assert plan(pixels, protocol=tiny).cache != before
    images, labels = torch.zeros(5000, 1, 8, 8), torch.arange(5000) % 10
    one = validate.identity(Photographs(images, labels))
    assert one == validate.identity(Photographs(images.clone(), labels.clone()))
    images[4999, 0, 7, 7], other = 1, labels.clone()
    assert one != validate.identity(Photographs(images, labels))
    images[4999], other[4999] = 0, 0
    assert one != validate.identity(Photographs(images, other))


def test_kinds_of_labels_are_different_trials(priors, digits, tiny):
    seen = []
    for kind in ("soft", "hard"):
        options = {"protocol": tiny, "labels": [kind], "baselines": (), "seeds": [0]}
        plan(priors, digits, **options).run(progress=seen.append)
    assert len(seen) == 2 * tiny.steps


def test_trials_are_shared_and_each_evaluation_removes_its_own_alone(pixels, tiny, cache):
    """Those that another evaluation asks for are kept for it."""
    short = tiny.model_copy(update={"steps": 2})
    options = {"protocol": short, "baselines": ["random", "real"]}
    kept = plan(pixels, **options)
    expected = outcomes(kept.run())
    for changes in ({"seeds": [0]}, {"baselines": ["random"]}):
        fewer = plan(pixels, **options | changes)
        assert {*outcomes(fewer.run(progress=untouched))} < {*expected}
        fewer.clear()
        assert outcomes(kept.run(progress=untouched)) == expected
    for changes in ({"nets": ["mlp"]}, {"scores": True}):
        other = plan(pixels, **options | changes, seeds=[0])
        other.run()
        other.clear()
        assert outcomes(kept.run(progress=untouched)) == expected
    kept.clear()
    assert not [file for file in cache.rglob("*") if file.is_file()]


def test_a_cache_that_cannot_be_written_is_told_and_done_without(pixels, tiny, report, cache):
    cache.write_text("a file")
    with pytest.warns(UserWarning, match="not kept.* XDG_CACHE_HOME"):
        found = evaluate(pixels, protocol=tiny, baselines="random")
    assert outcomes(found) == outcomes(report)


def test_workers_train_what_one_process_would(cache, monkeypatch, tiny):
    """Networks and a baseline, dealt out to two processes, which leave nothing to be trained."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = {"protocol": tiny, "seeds": [0, 1, 2], "baselines": ["random"], "date": "2026-01-02"}
    expected = evaluate("digits-ipc4", **options)
    trained, run = [], TrialTraining.run
    monkeypatch.setattr(TrialTraining, "run", lambda *them: (trained.append(them), run(*them))[1])
    seen = []
    dealt = evaluate("digits-ipc4", workers=2, progress=seen.append, **options)
    assert outcomes(dealt) == outcomes(expected)
    assert not trained
    assert len({at.stage for at in seen if at.event == "step"}) == 3 + 3
    assert not [*cache.rglob("*.json")]


def test_without_test_images_validation_is_tested_where_nobody_says(pixels, tiny):
    task = replace(load_task("digits"), test=None)
    assert plan(pixels, task, protocol=tiny, split=None).split == "validation"
    assert plan(pixels, load_task("digits"), protocol=tiny, split=None).split == "test"
    with pytest.raises(DataError, match="has no test images"):
        plan(pixels, task, protocol=tiny)


def test_threads_are_shared_by_workers_once(pixels, tiny, monkeypatch):
    monkeypatch.setattr(devices, "SMALL", 1)
    with using_threads(4):
        whole = plan(pixels, protocol=tiny, workers=2)
        assert whole.threads == 2
        whole.estimate()
        folder = whole.cache.folder
    with using_threads(2):
        assert plan(pixels, protocol=tiny).cache.folder == folder


def test_a_cluster_trains_what_this_process_would(cache, monkeypatch, tiny):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = {"protocol": tiny, "seeds": [0], "baselines": ["random"], "date": "2026-01-02"}
    expected = evaluate("digits-ipc4", **options)
    monkeypatch.setattr(TrialTraining, "run", untouched)
    dealt = evaluate("digits-ipc4", executor=Slurm(cluster="local"), **options)
    assert outcomes(dealt) == outcomes(expected)
    assert not [file for file in cache.rglob("*") if file.is_file()]


def test_nodes_that_compute_otherwise_are_refused(pixels, tiny, tmp_path):
    planned = plan(pixels, protocol=tiny)
    alike = tmp_path / planned.cache.folder.name
    assert planned.kept_in(alike).cache == replace(planned.cache, folder=alike)
    with pytest.raises(DeviceError, match="computes otherwise"):
        planned.kept_in(tmp_path / "of-another-device")
    with pytest.raises(DataError, match="give seeds instead"):
        evaluate(pixels, protocol=tiny, minutes=1.0, executor=Slurm(cluster="local"))


def test_workers_need_names(pixels, tiny):
    with pytest.raises(DataError, match="workers are told names"):
        evaluate(pixels, protocol=tiny, workers=2)


def test_a_worker_calls_its_one_gpu_the_first(monkeypatch, tmp_path):
    told = []

    class Idle:
        def __init__(self, workers, devices):
            self.given = workers, devices

        def run(self, jobs, *, watch):
            told.append((jobs[0].options["device"], *self.given))
            yield from ()

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    monkeypatch.setattr(shares, "Processes", Idle)
    cache = TrialCache(tmp_path, "me")
    whole = SimpleNamespace(seeds=(0, 1, 2), keep=True, cache=cache, threads=1)
    for device in ("cuda", "cuda:1"):
        options = EvaluationOptions(device=device, workers=2)
        shares.deal("digits-ipc4", None, options, whole, untouched)
    assert told == [("cuda", 2, ("4", "5", "6")), ("cuda", 2, ("5",))]
