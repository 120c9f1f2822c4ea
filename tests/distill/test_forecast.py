"""What a run takes, traced on the meta device, beside what is really computed."""

import itertools
import json
import runpy
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

import tiny_runs as runs
from d3data import distill, nets
from d3data.cli.commands import app
from d3data.distill import forecast as forecasting
from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import UnrecordedExperts
from d3data.distill.forecast import PEAKS, SHARE, forecast, gpu_speed
from d3data.distill.jobs import blank
from d3data.distill.tracing import traced
from d3data.errors import DeviceError
from d3data.images.formats import hub_datasets
from d3data.nets.compute import Compute
from d3data.nets.flops import FORMULAS
from d3data.utils.device import find_resources

LABELS = {"epoch": 1, "draws": 3, "teacher": runs.EXPERTS}
BLOCKS = [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]


def planned(recipe, out):
    return distill.prepare(recipe, out=out, resources=find_resources("cpu", 1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A recipe with every stage, three uneven subtasks: its plan, and its stages by name."""
    recipe = runs.recipe(
        objective=runs.MTT_AND_DM,
        subtasks={"blocks": BLOCKS},
        labels=LABELS,
        compute={"precision": "bfloat16"},
    )
    plan = planned(recipe, tmp_path_factory.mktemp("plan") / "run")
    computed, call = [], Compute.__call__

    def spy(compute, *inputs):
        computed.append(compute)
        return call(compute, *inputs)

    with pytest.MonkeyPatch.context() as patch:
        clock = itertools.count()
        patch.setattr(forecasting, "time", SimpleNamespace(perf_counter=clock.__next__))
        patch.setattr(forecasting, "TIMED_STEPS", 4)
        patch.setattr(Compute, "__call__", spy)
        stages = {stage.name: stage for stage in forecast(plan)}
    assert recipe.compute in computed
    return plan, stages


def test_a_step_of_an_objective_is_counted_as_it_is_computed(whole):
    plan, stages = whole
    recipe, flops = plan.recipe, 0
    for block in BLOCKS:
        task = plan.task.subtask(block)
        source = blank(recipe, task)
        torch.nn.init.normal_(source.mean)
        recorded = UnrecordedExperts(
            recipe.objective.expert_plan, task, (), device=torch.device("cpu")
        )
        context = ObjectiveContext(task, seed=0, steps=recipe.steps, experts=recorded)
        with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
            for loss in recipe.objective.losses(source, context):
                loss.backward()
        flops += counter.get_total_flops()
    assert stages["distill"].flops == flops
    assert (stages["distill"].jobs, stages["distill"].steps) == (3, 3 * recipe.steps)
    assert stages["distill"].disk == plan.numbers()["tensor_bytes"] - 20 * 10 * 4  # soft labels


def test_a_step_of_trajectory_matching_reads_two_snapshots(whole):
    plan, stages = whole
    wanted, half = plan.recipe.objective.expert_plan, plan.recipe.steps // 2
    sizes = [wanted.parameters(plan.task.subtask(block)) for block in BLOCKS]
    assert stages["distill"].traffic == 4 * half * 2 * sum(sizes)


def test_experts_are_counted_as_their_network_is(whole):
    plan, stages = whole
    flops = steps = 0
    for job in plan.experts:
        task = plan.task.subtask(job.classes)
        network = job.plan.network.build(task, 0)
        mine = job.plan.steps(task)
        batch = min(512, len(task.train))
        flops += mine * batch * nets.count_flops(network, (1, 8, 8)).training
        steps += mine
    stage = stages["experts"]
    assert (stage.jobs, stage.steps) == (len(plan.experts), steps)
    assert stage.flops == pytest.approx(flops, rel=0.2)
    assert stage.disk == plan.numbers()["expert_bytes"]


def test_labels_look_at_each_draw_once(whole):
    plan, stages = whole
    stage, images = stages["labels"], 20 * 3 * 2
    assert (stage.jobs, stage.steps, stage.disk) == (3, images, 4 * 20 * 10)
    network = plan.recipe.labels.teacher.network.build(plan.task, 0)
    source = blank(plan.recipe, plan.task)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(source.images(torch.zeros(1, dtype=torch.int64), None))
    assert stage.flops == images * counter.get_total_flops()


def test_memory_is_the_most_that_lives_at_once(whole):
    _, stages = whole
    assert stages["distill"].memory > stages["warm start"].memory > 0
    weight = torch.nn.Linear(8, 8, bias=False, device="meta")

    def losses():
        hidden = torch.zeros(1000, 8, device="meta")
        for _ in range(10):
            hidden = weight(hidden)
        yield hidden.sum()

    with torch.no_grad():
        forward = traced((weight, losses(), None))
    every = 4 * 1000 * 8
    assert forward.memory == 3 * 4 * 64 + 2 * every  # a parameter, its moments; two layers
    whole = traced((weight, losses(), None))
    assert 12 * every < whole.memory < 14 * every  # all layers, and gradients of one or two
    assert forward.flops == 10 * 2 * 1000 * 8 * 8
    assert whole.flops == (10 + 10 + 9) * 2 * 1000 * 8 * 8


def test_steps_are_timed_on_this_machine(whole):
    plan, stages = whole
    assert all(stage.seconds == stage.steps for stage in stages.values())  # a second each
    assert gpu_speed("rtx 4090") == SHARE * PEAKS["RTX4090"]
    with pytest.raises(DeviceError, match="did you mean H100"):
        gpu_speed("h10")
    with pytest.raises(DeviceError, match="unknown device"):
        forecast(plan, "tpu")


@pytest.mark.parametrize("limit", ["TIMED_FLOPS", "device_memory"])
def test_jobs_that_do_not_fit_or_take_too_long_are_not_timed(monkeypatch, tmp_path, limit):
    monkeypatch.setattr(forecasting, limit, 0 if limit.isupper() else lambda device: 0)
    [stage] = forecast(planned(runs.recipe(warm_start={"steps": 0}), tmp_path / "run"))
    assert (stage.name, stage.seconds) == ("distill", None)


def test_black_images_stand_for_those_that_are_not_here(monkeypatch, tmp_path):
    monkeypatch.delenv("D3DATA_DATA", raising=False)
    monkeypatch.setattr(hub_datasets, "read", lambda *_: pytest.fail("it asked the network"))
    path = tmp_path / "mnist.toml"
    path.write_text(runs.recipe(task={"name": "mnist"}).to_toml())
    command = ["distill", str(path), "--dry-run", "--out", str(tmp_path / "run"), "--gpu", "A100"]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    assert "planned with as many black images" in result.stderr
    page = json.loads(result.stdout)
    assert (page["classes"], page["items"]) == (10, 20)
    assert [stage["name"] for stage in page["stages"]] == ["warm start", "distill"]
    assert all(stage["seconds"] is None for stage in page["stages"])
    assert all(stage["gpu_seconds"] > 0 for stage in page["stages"])
    told = CliRunner().invoke(app, ["distill", str(path), "--gpu", "A100"])
    assert told.exit_code == 2


@pytest.mark.parametrize("name", ["imagenet-ipc1", "imagenet-ipc2", "tiny-imagenet-ipc1"])
def test_the_largest_recipes_fit_into_40_gb_whatever_this_machine_has(name, monkeypatch, tmp_path):
    recipe = distill.get_recipe(name)
    objectives = recipe.objective.children if runs.soaking() else recipe.objective.children[1:]
    task = recipe.task.load(imagine=True)
    block = task.subtask(recipe.subtasks.split(len(task.classes))[0])
    meta, told = torch.device("meta"), []
    for memory in (2**30, 2**40):
        monkeypatch.setattr("d3data.images.decoded.device_memory", lambda device, is_=memory: is_)
        for objective in objectives:
            source = blank(recipe, block).requires_grad_().to(meta)
            experts = UnrecordedExperts(recipe.objective.expert_plan, block, (), device=meta)
            compute = Compute(at_once=recipe.compute.at_once)
            context = ObjectiveContext(
                block, seed=0, steps=1, experts=experts, device=meta, compute=compute
            )
            told.append(traced((source, objective.losses(source, context), None)).memory)
    assert max(told) < 40e9
    assert told[: len(told) // 2] == told[len(told) // 2 :]


def test_a_torch_that_moved_its_private_names_is_told_in_a_sentence(monkeypatch):
    monkeypatch.delattr("torch.utils._python_dispatch.TorchDispatchMode")
    monkeypatch.delitem(sys.modules, "d3data.distill.tracing")
    with pytest.raises(DeviceError, match=r"torch .* has moved .*TorchDispatchMode.* --dry-run"):
        runpy.run_module("d3data.distill.tracing")
