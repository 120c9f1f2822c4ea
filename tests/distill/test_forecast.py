"""What a run will take, followed through on the meta device, beside what is really computed."""

import itertools
import json
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

import tiny_runs as runs
from d3data import distill, nets
from d3data.cli import app
from d3data.distill import forecast as forecasting
from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import Experts, record
from d3data.distill.forecast import PEAKS, SHARE, forecast, rates, traced
from d3data.distill.jobs import blank
from d3data.distill.resources import machine
from d3data.errors import DeviceError
from d3data.images.formats import hub_datasets
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.nets.flops import FORMULAS

CPU = torch.device("cpu")


def stages(recipe, tmp_path):
    plan = distill.prepare(recipe, out=tmp_path / "run", place=machine("cpu", 1))
    return {stage.name: stage for stage in forecast(plan)}, plan


@pytest.mark.parametrize("objective", [runs.DM, runs.MTT, runs.MTT_AND_DM])
def test_a_step_of_an_objective_is_counted_as_it_is_computed(objective, tmp_path):
    recipe = runs.recipe(objective=objective, steps=6)
    found, plan = stages(recipe, tmp_path)
    task, wanted = plan.task, recipe.objective.experts
    experts = None
    if wanted is not None:
        paths = [tmp_path / f"{index}.safetensors" for index in range(wanted.count)]
        for index, path in enumerate(paths):
            record(wanted, task, seed=0, index=index, path=path, device=CPU, compute=AS_WRITTEN)
        experts = Experts(wanted, task, paths, device=CPU)
    source = blank(recipe, task)
    torch.nn.init.normal_(source.mean)
    bench = ObjectiveContext(task, seed=0, steps=6, experts=experts)
    with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        for loss in recipe.objective.losses(source, bench):
            loss.backward()
    assert found["distill"].flops == counter.get_total_flops()
    assert found["distill"].steps == 6


def test_experts_are_counted_as_their_network_is(tmp_path):
    found, plan = stages(runs.recipe(objective=runs.MTT), tmp_path)
    wanted = plan.recipe.objective.experts
    network = wanted.network.build(plan.task, 0)
    batches = -(-len(plan.task.train) // 512)
    step = 512 * nets.count_flops(network, (1, 8, 8)).training
    stage = found["experts"]
    assert (stage.jobs, stage.steps) == (2, 2 * 2 * batches)
    assert stage.flops == stage.steps * step
    assert stage.disk == plan.numbers()["expert_bytes"] == 2 * 3 * 4 * wanted.parameters(plan.task)


def test_a_step_of_trajectory_matching_reads_two_snapshots(tmp_path):
    found, plan = stages(runs.recipe(objective=runs.MTT_AND_DM, steps=6), tmp_path)
    size = 4 * plan.recipe.objective.experts.parameters(plan.task)
    assert found["distill"].traffic == 3 * 2 * size


def test_subtasks_add_up_and_memory_does_not(tmp_path):
    whole, _ = stages(runs.recipe(subtasks={"count": 2}), tmp_path)
    blocks = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    same, plan = stages(runs.recipe(subtasks={"blocks": blocks}), tmp_path)
    uneven, _ = stages(runs.recipe(subtasks={"blocks": [[0], [*range(1, 10)]]}), tmp_path)
    assert whole == same
    assert whole["distill"].jobs == uneven["distill"].jobs == 2
    assert uneven["distill"].flops == whole["distill"].flops
    assert uneven["distill"].memory > whole["distill"].memory
    assert whole["distill"].disk == plan.numbers()["tensor_bytes"]
    assert {*whole} == {"warm start", "distill"}


def test_memory_is_what_autograd_keeps():
    weight = torch.zeros(8, 8, device="meta", requires_grad=True)

    def losses():
        images = torch.zeros(4, 8, device="meta")
        yield ((images @ weight) @ weight).square().sum()

    work = traced(losses(), 1)
    assert work.memory == 4 * (4 * 8 + 8 * 8 + 4 * 8 + 4 * 8)  # images, weight, and two products
    assert work.flops == 2 * 4 * 8 * 8 * (2 + 3)


def test_labels_take_a_look_at_each_draw(tmp_path):
    labels = {"epoch": 1, "draws": 3, "teacher": runs.EXPERTS}
    found, plan = stages(runs.recipe(labels=labels), tmp_path)
    assert found["labels"].steps == 20 * 3 * 2
    network = plan.recipe.labels.teacher.network.build(plan.task, 0)
    source = blank(plan.recipe, plan.task)
    torch.nn.init.normal_(source.mean)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(source.images(torch.zeros(1, dtype=torch.int64), None))
    assert found["labels"].flops == 20 * 3 * 2 * counter.get_total_flops()
    assert found["labels"].disk == 4 * 20 * 10


def test_hours_are_operations_over_their_rate(monkeypatch, tmp_path):
    found, plan = stages(runs.recipe(objective=runs.MTT), tmp_path)
    clock = SimpleNamespace(perf_counter=itertools.count().__next__)  # a second a look
    monkeypatch.setattr(forecasting, "time", clock)
    speeds = rates(plan, "cpu", "rtx 4090")
    here, there = speeds.values()
    assert [*speeds] == ["this cpu", "RTX4090 at 30% of its peak"]
    assert there == SHARE * PEAKS["RTX4090"]
    expert = plan.recipe.objective.experts
    network = expert.network.build(plan.task, 0)
    step = expert.batch * nets.count_flops(network, (1, 8, 8)).training
    assert here == step / 3  # looks: before, once for the step, once after, once for the time
    assert found["experts"].hours(step / 3) == found["experts"].steps * 3 / 3600
    with pytest.raises(DeviceError, match="did you mean H100"):
        rates(plan, "cpu", "h10")


def test_what_is_timed_is_an_expert_computed_as_the_recipe_says(monkeypatch, tmp_path):
    monkeypatch.setattr(forecasting, "SECONDS", 0.0)
    timed, call = [], Compute.__call__

    def spy(compute, function, network, *inputs):
        timed.append((compute, network))
        return call(compute, function, network, *inputs)

    compute = {"precision": "bfloat16"}
    _, plan = stages(runs.recipe(objective=runs.MTT, compute=compute), tmp_path)
    monkeypatch.setattr(Compute, "__call__", spy)
    rates(plan, "cpu")
    ((found, network),) = timed
    assert found == Compute(**compute)
    expert = plan.recipe.objective.experts.network.build(plan.task, 0)
    shapes = [[p.shape for p in each.parameters()] for each in (network, expert)]
    assert shapes[0] == shapes[1]


def test_images_that_are_not_here_are_imagined(monkeypatch, tmp_path):
    monkeypatch.delenv("D3DATA_DATA", raising=False)
    monkeypatch.setattr(forecasting, "SECONDS", 0.01)
    monkeypatch.setattr(hub_datasets, "read", lambda *_: pytest.fail("it asked the network"))
    path = tmp_path / "mnist.toml"
    path.write_text(runs.recipe(task={"name": "mnist"}).to_toml())
    found = CliRunner().invoke(
        app, ["distill", str(path), "--dry-run", "--json", "--out", str(tmp_path / "run")]
    )
    assert found.exit_code == 0, found.output
    assert "mnist is not on this machine: planned with as many black images" in found.stderr
    page = json.loads(found.stdout)
    assert (page["classes"], page["items"]) == (10, 20)
    assert [stage["name"] for stage in page["stages"]] == ["warm start", "distill"]
    told = CliRunner().invoke(app, ["distill", str(path), "--gpu", "A100"])
    assert told.exit_code == 2
