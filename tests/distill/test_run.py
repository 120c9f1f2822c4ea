import json
import resource
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import pictures
import tiny_runs as runs
import toys
from d3data import artifact, distill
from d3data.distill import driver, jobs
from d3data.distill import plan as planning
from d3data.distill.recipe import SoftLabels
from d3data.distill.recipe_files import get_recipe
from d3data.distill.run_status import LOCK
from d3data.errors import (
    D3DataError,
    DataError,
    DeviceError,
    ForeignRunError,
    JobError,
    RecipeError,
    RunError,
    RunLockedError,
    TrainingError,
)
from d3data.executors import base
from d3data.executors.base import do
from d3data.executors.processes import Processes
from d3data.images import decoded as pixels
from d3data.images.tasks import TaskSpec
from d3data.nets.compute import Compute
from d3data.sources.pixels import PixelsSource
from d3data.utils.device import Resources, cores, find_resources
from d3data.utils.lock import hold, holder, lock_files

LOCKS = lock_files(Path(LOCK))
MMD = {"kind": "mmd", "samples": 4, "experts": runs.EXPERTS}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def run(recipe, out, **more):
    return distill.run(recipe, out=out, **{"executor": "inline", "save_every": 0.0} | more)


def plan(recipe, out, **more):
    return distill.prepare(recipe, out=out, resources=find_resources("cpu", 2), **more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of two subtasks with experts, soft labels and a residual, and its events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        out, events = tmp_path_factory.mktemp("run") / "run", []
        recipe = runs.recipe(
            objective=runs.MTT_AND_DM,
            source={**runs.GAUSSIAN, "residual": True},
            optimizers={**runs.OPTIMIZERS, "residual": {"learning_rate": 0.01}},
            subtasks={"count": 2, "rule": "round-robin"},
            labels={"teacher": {**runs.EXPERTS, "count": 1}, "epoch": 1, "draws": 2},
        )
        numbers = plan(recipe, out).numbers()
        assert not out.exists()
        place = run(recipe, out, progress=events.append)
        return out, recipe, events, place, numbers


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A finished run of one subtask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        out = tmp_path_factory.mktemp("small") / "run"
        run(runs.recipe(), out)
        return out


def test_a_run_makes_an_artifact_that_says_where_it_is_from(finished):
    _, recipe, _, place, _ = finished
    found = artifact.read(place)
    found.check()
    found.check_golden()
    page = found.manifest
    assert page.about.name == "tiny"
    assert page.about.provenance.recipe_sha256 == recipe.identity
    assert page.about.provenance.images == len(recipe.task.load().train)
    assert page.about.method.name == "gaussian + mtt + dm"
    assert "arXiv:2203.11932" in page.about.method.reference
    assert [part.classes for part in page.content.parts] == [(0, 2, 4, 6, 8), (1, 3, 5, 7, 9)]
    values = tomllib.loads(found.file("recipe.toml").decode())
    assert distill.Recipe.parse(values, where="it") == recipe


@pytest.fixture
def copied(small, tmp_path):
    """A copy of a small finished run, to be damaged."""
    return shutil.copytree(small, tmp_path / "run")


def test_soft_labels_are_probabilities_over_all_classes(finished):
    for source in artifact.read(finished[3]).sources():
        assert source.labels.shape == (10, 10)
        torch.testing.assert_close(source.labels.sum(1), torch.ones(10))
        assert source.labels.std() > 0


def test_the_plan_tells_the_numbers_that_come_out(finished):
    out, _, _, place, numbers = finished
    ledger = artifact.read(place).ledger
    assert numbers["published_values"] == ledger.published_values
    assert numbers["tensor_bytes"] == 4 * ledger.stored_values
    assert numbers["items"] == 20
    sizes = [path.stat().st_size for path in (out / "experts").glob("*.safetensors")]
    assert len(sizes) == numbers["experts"] == 5
    assert 0 < sum(sizes) - numbers["expert_bytes"] < 200 * len(sizes)
    lines = sum(len(p.read_text().splitlines()) for p in out.glob("subtasks/*/metrics.jsonl"))
    assert numbers["steps"] == lines == 20


def noted(out):
    """What the events are that a run has logged."""
    return [json.loads(line)["what"] for line in (out / driver.LOG).read_text().splitlines()]


def test_events_count_all_jobs_and_are_noted_down(finished):
    out, _, events, _, _ = finished
    assert (events[0].event, events[0].step, events[0].steps) == ("planned", 0, 9)
    assert [e.step for e in events if e.event == "done"] == list(range(1, 10))
    assert events[-1].event == "written"
    assert {e.stage for e in events if e.event == "step"} == {"expert", "warm start", "distill"}
    assert noted(out) == [e.event for e in events if e.event != "step"]


def test_what_is_done_is_not_done_again(finished):
    out, recipe, _, place, _ = finished
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    events = []
    assert run(recipe, out, progress=events.append) == place
    assert [(event.event, event.message) for event in events] == [("planned", "already finished")]
    changed = {path.name for path, time in files.items() if path.stat().st_mtime_ns != time}
    assert changed <= {*LOCKS, "progress.jsonl"}
    found = distill.status(out)
    assert (found.done, found.total, found.driver) == (9, 9, None)
    assert all(done == count for done, count in found.stages.values())
    assert sum(count for _, count in found.stages.values()) == found.total
    assert [part.stage for part in found.subtasks] == ["done", "done"]
    assert found.artifact == place


def test_a_lost_result_and_a_spoilt_artifact_are_made_again(finished):
    out, recipe, _, place, _ = finished
    before = runs.outcome(out)
    (out / "subtasks" / "001" / "result.safetensors").write_bytes(b"spoilt")
    (place / "parts" / "000.safetensors").write_bytes(b"spoilt")
    run(recipe, out)
    assert runs.outcome(out) == before


def test_spoilt_labels_are_made_again(finished):
    out, recipe, _, place, _ = finished
    before = runs.outcome(out)
    for number in ("000", "001"):
        path = out / "subtasks" / number / "labels.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    (place / "parts" / "000.safetensors").write_bytes(b"spoilt")
    events = []
    run(recipe, out, progress=events.append)
    assert [e.job for e in events if e.event == "done"] == ["labels 000", "labels 001"]
    assert runs.outcome(out) == before


def test_the_status_of_a_set_names_its_run(finished):
    out, _, _, place, _ = finished
    with pytest.raises(RunError, match=f"the run is {out}$"):
        distill.status(place)


def test_a_torn_line_spoils_no_status(copied):
    whole = distill.status(copied)
    metrics = copied / "subtasks" / "000" / "metrics.jsonl"
    for path in (metrics, copied / driver.LOG):
        lines = path.read_bytes().splitlines(keepends=True)
        torn = [b'{"what": "failed", "do\n', b"5\n", b"{}\n", b"\xff\n", *lines, b'{"to']
        path.write_bytes(b"".join(torn))
    assert distill.status(copied) == replace(whole, artifact=copied / "artifact")
    run(runs.recipe(), copied)
    last = (copied / driver.LOG).read_text(errors="replace").splitlines()[-2:]
    assert last[0] == '{"to'
    assert json.loads(last[1])["what"] == "planned"


def test_a_run_that_lost_its_environment_says_what_helps(copied):
    (copied / "env.json").write_text("{")
    for read in (lambda: run(runs.recipe(), copied), lambda: distill.status(copied)):
        with pytest.raises(RunError, match=r"env\.json is missing or broken .*another folder$"):
            read()


def test_a_stopped_run_has_a_status_and_names_a_broken_checkpoint(tmp_path):
    class Stop(Exception):
        pass

    def stop(event):
        if event.stage == "distill":
            raise Stop

    with pytest.raises(Stop):
        run(runs.recipe(), tmp_path, progress=stop)
    found = distill.status(tmp_path)
    [part] = found.subtasks
    assert (found.done, found.artifact) == (0, None)
    assert found.stages["subtasks"] == (0, 1)
    assert (part.stage, part.step, part.steps) == ("distill", 1, 6)
    assert part.loss > 0
    path = tmp_path / "subtasks" / "000" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RunError, match=r"is broken .*: delete it and repeat"):
        run(runs.recipe(), tmp_path)


def test_pixels_begin_as_real_images_of_their_classes(tmp_path):
    recipe = runs.recipe(source={"kind": "pixels"}, steps=0, objective=None, optimizers={})
    [source] = artifact.read(run(recipe, tmp_path)).sources()
    assert isinstance(source, PixelsSource)
    task = recipe.task.load()
    for image, label in zip(source.pixels, source.classes, strict=True):
        members = torch.nonzero(task.train.labels == label).flatten()
        assert (task.train.read(members) == image).flatten(1).all(1).any()


def test_seeds_make_different_tensors_also_from_noise(tmp_path):
    recipes = [runs.recipe(seed=seed, steps=1, warm_start={"steps": 0}) for seed in (0, 1)]
    one, other = (artifact.read(run(each, tmp_path / str(each.seed))) for each in recipes)
    assert one.sources()[0].mean.std() > 0.5
    assert one.manifest.content_sha256 != other.manifest.content_sha256


def test_runs_share_experts_by_what_is_in_them(tmp_path):
    shared = tmp_path / "experts"
    for name, steps in (("a", 1), ("b", 2)):
        recipe = runs.recipe(objective=runs.MTT, steps=steps, warm_start={"steps": 0})
        run(recipe, tmp_path / name, experts=shared)
    assert len(list(shared.glob("*.safetensors"))) == 2
    assert not (tmp_path / "a" / "experts").exists()


def test_a_folder_of_another_recipe_is_refused_and_both_are_named(finished):
    out, recipe, _, _, _ = finished
    other = runs.recipe(seed=4)
    with pytest.raises(ForeignRunError) as failure:
        run(other, out)
    assert recipe.identity[:12] in str(failure.value)
    assert other.identity[:12] in str(failure.value)
    assert "they differ in labels, " in str(failure.value)
    changed = recipe.model_copy(update={"seed": 4})
    with pytest.raises(ForeignRunError, match=r"they differ in seed: choose another folder"):
        run(changed, out)


def test_a_folder_that_is_no_run_is_left_alone_and_has_no_status(tmp_path):
    with pytest.raises(RunError, match=r"is not a run: it has no recipe\.toml"):
        distill.status(tmp_path)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ForeignRunError, match=r"not a run and not empty \(it has thesis\.tex\)"):
        run(runs.recipe(), tmp_path)


def test_what_killed_processes_leave_is_cleared_away(copied, tmp_path):
    left = (".env.json.x2", "subtasks/000/.result.safetensors.x3", ".artifact.x4/new/a")
    for path in (copied / name for name in left):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    (copied / "subtasks/000/state.json").unlink()  # which is written last
    run(runs.recipe(), copied)
    assert not list(copied.rglob(".*.*"))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".recipe.toml.x1").write_text("half")
    assert plan(runs.recipe(), tmp_path / "new").jobs


def test_other_images_than_those_of_the_beginning_are_refused(tmp_path):
    images = pictures.image_folder(tmp_path / "images", count=6)
    recipe = runs.recipe(task={"name": "toys"}, items_per_class=1)
    run(recipe, tmp_path / "run", data=images)
    pictures.image_folder(tmp_path / "images", count=7)
    with pytest.raises(ForeignRunError, match="was started with other images"):
        run(recipe, tmp_path / "run", data=images)


def test_a_second_driver_is_refused_with_the_host_and_process_of_the_first(tmp_path):
    with hold(tmp_path / LOCK, taken=RunLockedError):
        with pytest.raises(RunLockedError, match="is in use by process") as failure:
            run(runs.recipe(), tmp_path)
        assert f"process {runs.os.getpid()} on {socket.gethostname()}: " in str(failure.value)
        assert holder(tmp_path / LOCK).pid == runs.os.getpid()
    assert holder(tmp_path / LOCK) is None


def test_the_task_of_an_inline_run_is_loaded_once(monkeypatch, tmp_path):
    loads, load = [], TaskSpec.load
    monkeypatch.setattr(TaskSpec, "load", lambda *a, **k: loads.append(a) or load(*a, **k))
    run(runs.recipe(steps=1, warm_start={"steps": 0}, subtasks={"count": 2}), tmp_path)
    assert len(loads) == 1


def refused(error, match, out, **changed):
    with pytest.raises(error, match=match):
        plan(runs.recipe(**changed), out)
    assert not out.exists()


def test_what_could_never_finish_is_refused_before_any_job(tmp_path):
    out = tmp_path / "run"
    refused(
        RecipeError, "a subtask of one class has no experts to train", out,
        objective=runs.MTT, subtasks={"count": 10},
    )  # fmt: skip
    refused(
        DataError, "class '0' has .* training images for 500 items", out,
        items_per_class=500, draws_per_class=500,
    )  # fmt: skip
    refused(RecipeError, "draws_per_class must be at least 9", out, items_per_class=9)
    refused(
        RecipeError, "optimizers.residual: a gaussian source like this has none", out,
        optimizers={"residual": {"learning_rate": 1.0}},
    )  # fmt: skip
    refused(
        RecipeError, "labels.epoch is 9, but the teacher has only", out,
        labels={"teacher": runs.EXPERTS},
    )  # fmt: skip
    refused(RecipeError, "subtasks.count is 11", out, subtasks={"count": 11})
    refused(D3DataError, "name", out, name="a--b")


DEEP = {"width": 4, "depth": 4}


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        (
            {"warm_start": {"augment": "siamse"}},
            "^warm_start.augment: unknown augmentation 'siamse': did you mean siamese",
        ),
        (
            {"objective": runs.MTT_AND_DM | {"children": [runs.MTT, {**runs.DM, "augment": "x"}]}},
            "^objective.children.1.augment: unknown",
        ),
        (
            {"objective": {**runs.MTT, "experts": {**runs.EXPERTS, "augment": "x"}}},
            "^objective.experts.augment: unknown",
        ),
        (
            {"labels": {"teacher": {**runs.EXPERTS, "augment": "x"}, "epoch": 1}},
            "^labels.teacher.augment: unknown",
        ),
        ({"objective": {**runs.DM, "network": DEEP}}, "^objective.network: .* from 1 to 3"),
        (
            {"objective": {**runs.MTT, "experts": {**runs.EXPERTS, "network": {"name": "resnt"}}}},
            "^objective.experts.network: unknown network 'resnt'",
        ),
        (
            {"labels": {"teacher": {**runs.EXPERTS, "network": DEEP}, "epoch": 1}},
            "^labels.teacher.network: a ConvNet of depth 4",
        ),
        (
            {"objective": {**runs.DM, "network": {"width": 5, "norm": "group"}}},
            "^objective.network: 5 channels do not divide by the 4 groups",
        ),
    ],
)
def test_names_and_depths_are_refused_before_any_job(tmp_path, changed, match):
    refused(RecipeError, match, tmp_path / "run", **changed)
    with pytest.raises(RecipeError, match=match):
        run(runs.recipe(**changed), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"subtasks": {"blocks": [[], list(range(10))]}}, "subtasks.blocks.0: .* at least 1"),
        ({"items_per_class": 1_000_001}, "items_per_class"),
        ({"draws_per_class": 1_000_001}, "draws_per_class"),
        ({"optimizers": {"labels": {"learning_rate": 0.1}}}, "optimizers.labels"),
        ({"objective": {"kind": "kip", "real": 8, "solve_labels": True}}, "learn_labels = true"),
        ({"objective": {**MMD, "bandwidth": "mean"}}, "bandwidth.* must be 'published'"),
        ({"objective": {**MMD, "bandwidth": [1.0, 0.0]}}, "bandwidth.*1: must be greater"),
        ({"objective": {**MMD, "bandwidth": [1e300]}}, "bandwidth.*0: must be less"),
        ({"objective": {**MMD, "bandwidth": []}}, "bandwidth.* at least 1"),
    ],
)
def test_what_no_recipe_can_say(changed, match):
    with pytest.raises(RecipeError, match=match):
        runs.recipe(**changed)


def test_what_a_table_leaves_out_is_as_where_there_is_no_table():
    """One teacher, and the batch norm of FRePo's networks; not what other methods begin with."""
    labels = get_recipe("digits-ipc4", overrides=["labels.teacher.epochs=2"]).labels
    assert labels.teacher.count == SoftLabels().teacher.count == 1
    narrow, other = (
        get_recipe("frepo-digits-ipc1", overrides=[f"objective.network.{change}"]).objective
        for change in ("width=32", "norm=none")
    )
    assert (narrow.network.norm, narrow.network.width, other.network.norm) == ("batch", 32, "none")


@pytest.mark.parametrize(
    "options",
    [{"workers": 0}, {"attempts": 0}, {"save_every": -1.0}, {"save_every": float("nan")}],
)
def test_options_that_mean_nothing_are_refused(tmp_path, options):
    with pytest.raises(RecipeError, match=f"^{next(iter(options))} must be "):
        run(runs.recipe(), tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
    if "save_every" in options:
        with pytest.raises(RecipeError, match="save_every must be"):
            plan(runs.recipe(), tmp_path / "run", **options)


def test_workers_and_accelerators_by_default(monkeypatch):
    assert find_resources("cpu", None).workers == cores()
    assert find_resources("cpu", 7).workers == 7
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-x")
    assert find_resources("cuda", None) == Resources("cuda", 2, ("3", "GPU-x"))
    assert find_resources("cuda:1", None) == Resources("cuda", 1, ("GPU-x",))
    assert find_resources("cuda:1", 4, inline=True) == Resources("cuda:1", 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert find_resources("cuda", 4) == Resources("cuda", 4, ("0", "1"))


@pytest.mark.parametrize(
    ("visible", "count", "devices"),
    [
        ("0,1,", 2, ("0", "1")),
        (" 1 ,0", 2, ("1", "0")),
        ("0,-1,2", 1, ("0",)),  # CUDA sees none after one that is none
        ("GPU-8932f937-d72c", 1, ("GPU-8932f937-d72c",)),
        ("MIG-GPU-1/2/0,MIG-GPU-1/3/0", 2, ("MIG-GPU-1/2/0", "MIG-GPU-1/3/0")),
        ("", 3, ("0", "1", "2")),
    ],
)
def test_every_spelling_of_visible_devices(monkeypatch, visible, count, devices):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert find_resources("cuda", None) == Resources("cuda", count, devices)
    dealt = Processes(2 * count, devices)
    seen = [dealt.environment(n)["CUDA_VISIBLE_DEVICES"] for n in range(2 * count)]
    assert seen == [*devices, *devices]


def test_cores_are_dealt_to_jobs_that_run_at_a_time(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("d3data.utils.device.cores", lambda: 8)
    place = Resources("cpu", 4)
    assert [place.threads(jobs, 64) for jobs in (1, 2, 3, 4, 100)] == [8, 4, 2, 2, 2]
    assert Resources("cpu", 20).threads(100, 64) == 1
    assert place.threads(1, 8) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert place.threads(100, 64) == 3


def test_an_unknown_device_or_executor_is_refused(tmp_path):
    with pytest.raises(DeviceError, match="unknown device"):
        run(runs.recipe(), tmp_path / "run", device="tpu")
    with pytest.raises(RecipeError, match="did you mean inline"):
        run(runs.recipe(), tmp_path / "run", executor="inlin")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_a_clear_error_and_loses_nothing(small, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    sizes = sorted(path.stat().st_size for path in small.rglob("*.safetensors"))
    for limit in (100, sizes[0] - 1, sizes[-1] - 1):  # the system refuses to write more to a file
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(D3DataError, match=r"cannot write .*(space|folder)"):
                run(runs.recipe(), tmp_path / "run")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    run(runs.recipe(), tmp_path / "run")
    assert runs.outcome(tmp_path / "run") == runs.outcome(small)
    assert not list(tmp_path.rglob(".*.*"))


def test_all_failures_of_a_stage_are_told_once_the_others_are_done(tmp_path, monkeypatch):
    def fail(job, report, memory):
        if job.number != 1:
            raise ValueError(f"no {job.number}")
        done.append(job.name)

    done = []
    recipe = runs.recipe(subtasks={"count": 3})
    monkeypatch.setattr(jobs.SubtaskJob, "perform", fail)
    inline = distill.Inline(distill.Retries(attempts=2, pause=0.0))
    with pytest.raises(JobError) as failure:
        run(recipe, tmp_path, executor=inline)
    assert "subtask 000 failed: no 0; subtask 002 failed: no 2" in str(failure.value)
    assert "Repeat the command to try again" in str(failure.value)
    assert done == ["subtask 001"]
    assert noted(tmp_path) == ["planned", "failed", "failed", "done", "failed", "failed"]


EXPERT_STEPS = 2 * 2 * 3  # experts, epochs, batches
FASTER = [
    (MMD, {"precision": "bfloat16"}),
    pytest.param(
        runs.DM,
        {"compile": True, "precision": "bfloat16"},
        marks=[
            toys.compiler,
            pytest.mark.skipif(
                not runs.soaking(),
                reason="two processes compile, for minutes: make soak (D3DATA_SOAK=1)",
            ),
        ],
    ),
]


@pytest.mark.parametrize(("objective", "compute"), FASTER)
def test_faster_passes_are_resumed_with_the_same_bits(tmp_path, monkeypatch, objective, compute):
    class Stopped(Exception):
        pass

    def stop(progress):
        if (progress.stage, progress.step) == ("distill", 4):
            raise Stopped

    recipe = runs.recipe(objective=objective, compute=compute)
    run(recipe, tmp_path / "whole")
    monkeypatch.setattr(base, "throttled", lambda report: stop)
    with pytest.raises(JobError):
        run(recipe, tmp_path / "stopped", attempts=1)
    runs.finish(recipe, tmp_path / "stopped")  # another process, which compiles for itself
    assert runs.outcome(tmp_path / "whole") == runs.outcome(tmp_path / "stopped")


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (
            {"kind": "alternate", "children": [MMD, runs.DM]},
            {"features": 2 * 6, "logits": EXPERT_STEPS},
        ),
        (runs.MTT, {"logits": EXPERT_STEPS, "_slope": 6 * 2, "_pulled": 6 * 2}),
    ],
)
def test_all_passes_of_a_run_are_computed_as_its_recipe_says(
    tmp_path, monkeypatch, objective, passes
):
    seen = Counter()

    def spy(self, function, *inputs):
        seen[self, function.__name__] += 1
        return function(*inputs)

    monkeypatch.setattr(Compute, "__call__", spy)
    recipe = runs.recipe(objective=objective, compute={"precision": "bfloat16"})
    run(recipe, tmp_path)
    expected = {"_through": 4} | passes
    assert {name for _, name in seen} == {*expected}
    for name, least in expected.items():  # matching may look at some classes at a time
        exact = name in ("_slope", "_pulled")  # of a student: gradients pass through gradients
        compute = recipe.compute.unrounded if exact else recipe.compute
        assert seen[compute, name] == sum(seen[how, one] for how, one in seen if one == name)
        assert seen[compute, name] >= least


def test_trajectories_are_named_by_how_they_were_computed():
    task = toys.task()
    names = {
        toys.PLAN.file_name(task, 0, 0, Compute(precision=precision, compile=compiled))
        for precision in ("float32", "bfloat16")
        for compiled in (False, True)
    }
    assert len(names) == 4


@pytest.mark.parametrize(
    ("items", "expected"),
    [([1, 2, 3, 1, 2, 3, 1, 2, 3, 4], (1, 2, 3, 1, 2, 3, 1, 2, 3, 4)), ("balanced:3", (3,) * 10)],
)
@pytest.mark.parametrize("source", [runs.GAUSSIAN, {"kind": "pixels"}])
def test_classes_may_have_different_numbers_of_items(tmp_path, items, expected, source):
    own = {"pixels" if source["kind"] == "pixels" else "priors": {"learning_rate": 0.01}}
    recipe = runs.recipe(
        items_per_class=items, source=source, optimizers=own, subtasks={"count": 2}
    )
    made = artifact.read(distill.run(recipe, out=tmp_path / "run", executor="inline"))
    assert made.manifest.content.items_per_class == expected
    assert distill.get_recipe(tmp_path / "run" / "recipe.toml") == recipe
    made.check()


def test_balanced_items_are_fewer_where_a_class_has_fewer_images():
    assert runs.recipe(items_per_class="balanced:4").items([9, 4, 1]) == (4, 4, 1)
    assert runs.recipe(items_per_class="balanced").items([99, 3]) == (10, 3)
    listed = runs.recipe(items_per_class=[5, 6, 7])
    assert listed.items([9, 9, 9]) == (5, 6, 7)
    assert listed.items([9, 9], of=[2, 0]) == (7, 5)
    with pytest.raises(RecipeError, match="lists 3 classes, and there are 2"):
        listed.items([9, 9])
    for wrong in ("balance", "balanced:0", [], [1, 0]):
        with pytest.raises(RecipeError, match="items_per_class"):
            runs.recipe(items_per_class=wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warm_start": {**runs.values()["warm_start"], "learning_rate": 1e30}},
         r"lower warm_start\.learning_rate in the recipe \(stage warm start\)"),
        ({"optimizers": {name: {"learning_rate": 1e30} for name in runs.OPTIMIZERS}},
         r"lower optimizers\.\*\.learning_rate in the recipe \(stage distill\)"),
    ],
)  # fmt: skip
def test_a_loss_that_is_not_finite_names_its_stage_and_the_key(changes, message, tmp_path):
    with pytest.raises(TrainingError, match=message):
        run(runs.recipe(**changes, steps=20), tmp_path / "run", executor="inline", attempts=1)


def test_images_beyond_memory_are_decoded_once_into_files(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    recipe = runs.recipe(objective=runs.MTT_AND_DM, subtasks={"count": 2})
    expected = runs.outcome(run(recipe, tmp_path / "small").parent)
    monkeypatch.setattr(planning, "MEMORY", 1000)
    monkeypatch.setattr(planning, "LOT", 500)
    decoded, decode = [], pixels.decode

    def spy(images, rows, rule, slots):
        decoded.extend(slots.tolist())
        return decode(images, rows, rule, slots)

    monkeypatch.setattr(pixels, "decode", spy)
    out = tmp_path / "large"
    run(recipe, out)
    files = sorted(path.name for path in (out / "images").iterdir())
    images = len(plan(recipe, tmp_path / "plan").task.train)
    assert files == [f"{number:03d}.npy" for number in range(-(-images // 500))]
    assert sorted(decoded) == [*range(images)]
    assert runs.outcome(out) == expected
    shutil.rmtree(out / "images")  # when it is done they are not needed
    run(recipe, out)
    assert len(decoded) == images


def test_a_file_of_images_that_is_cut_off_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "MEMORY", 1000)
    recipe, out = runs.recipe(), tmp_path / "run"
    run(recipe, out)
    expected = runs.outcome(out)
    (out / "subtasks/000/result.safetensors").unlink()
    path = out / "images/000.npy"
    path.write_bytes(path.read_bytes()[:-5])
    run(recipe, out)
    assert runs.outcome(out) == expected


def test_an_expert_that_runs_share_is_trained_by_one_at_a_time(tmp_path):
    """Another process has it: this one waits, and then finds it done."""
    expert = plan(
        runs.recipe(objective=MMD), tmp_path / "run", experts=tmp_path / "shared"
    ).experts[0]
    code = f"""
        import pathlib, sys
        from d3data.executors.base import LOCK
        from d3data.utils.lock import hold_range

        path = pathlib.Path({str(expert.path)!r})
        with hold_range(path.parent / LOCK, path.name, patience=0.0):
            print("held", flush=True)
            sys.stdin.readline()
            path.write_bytes(b"of the other")
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **streams) as other:
        assert other.stdout.readline() == "held\n"
        mine = threading.Thread(target=do, args=(expert, lambda at: None, {}))
        mine.start()
        other.stdin.write("\n")
        other.stdin.flush()
        mine.join()
    assert expert.path.read_bytes() == b"of the other"


def test_sums_of_a_job_are_in_fixed_order_and_no_memory_is_filled():
    def state():
        filled = torch.utils.deterministic.fill_uninitialized_memory
        return torch.are_deterministic_algorithms_enabled(), filled

    before = state()
    with jobs._deterministic(True):
        inside = state()
    assert (before, inside, state()) == ((False, True), (True, False), (False, True))
