"""What a step costs: launches, waits, time of the host, and memory."""

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

import d3data
from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import Course, UnrecordedExperts
from d3data.distill.jobs import blank
from d3data.distill.objectives import Objective
from d3data.distill.objectives.base import choose_real, sample_items
from d3data.distill.recipe import Recipe
from d3data.distill.recipe_files import get_recipe
from d3data.distill.tracing import META, MOMENTS, traced
from d3data.evaluation.protocols import get_protocol
from d3data.evaluation.record import EvalSetup
from d3data.evaluation.trial_training import TrialTraining
from d3data.images import augment
from d3data.images.tasks import Task, load_task
from d3data.nets import build
from d3data.nets.training import Unread, descend

from .bench import Bench, Check, Counts, random_source, recorded
from .recipes import MTT_AND_MMD, parsed

WARM_UP, COUNTED = 3, 10  # steps
WAITS = 2  # a step
LAUNCHES = {"expert": 60, "dm": 130, "mmd": 220, "mtt": 1300, "evaluation": 80}  # a step
HOST_MS = {("cifar10-ipc1", "dm"): 10.0, ("imagenet-ipc2", "mmd"): 150.0}
TIMED = 3  # steps
WITHIN = 0.1  # of the memory that is told
TINY = [
    'task.name="digits"', "source.decoder.width=8", "source.decoder.noise=16", "compute.at_once=9"
] + [
    f"objective.children.{child}.experts={{network={{width=8}}, count=2, epochs=12}}"
    for child in range(2)
]  # fmt: skip


def opened(recipe: Recipe) -> Task:
    """The first subtask of a recipe, of black images where the real ones are not here."""
    task = recipe.task.load(imagine=True)
    return task.subtask(recipe.subtasks.split(len(task.classes))[0])


def random_trajectory(recipe: Recipe, task: Task, path: Path) -> list[Path]:
    """A file of random parameters in place of experts."""
    plan, rng = recipe.objective.expert_plan, torch.Generator().manual_seed(0)
    shape = plan.epochs + 1, plan.parameters(task)
    safetensors.torch.save_file({"snapshots": 0.05 * torch.randn(shape, generator=rng)}, path)
    return [path]


def counted(
    bench: Bench, losses: Iterator[Tensor], optimizers: Sequence[torch.optim.Optimizer]
) -> Counts:
    """Of ten steps, after some that are not counted."""
    found = []

    def after(step: int, _: Unread) -> None:
        if step == WARM_UP - 1:
            bench.card.begin()
        if step == WARM_UP + COUNTED - 1:
            found.append(bench.card.end())

    descend(losses, optimizers, steps=WARM_UP + COUNTED, after=after)
    return found[0]


def launches(bench: Bench) -> Iterator[Check]:
    """Kernels and waits a step, beside their budgets."""
    counts = {"expert": of_an_expert(bench), "evaluation": of_an_evaluation(bench)}
    small = parsed(MTT_AND_MMD)
    for objective in [get_recipe("digits-ipc4").objective, *small.objective.leaves]:
        counts[objective.kind] = of_an_objective(bench, small, objective)
    for name, found in counts.items():
        each, most = found.launches / COUNTED, LAUNCHES[name]
        yield Check(f"{name}: launches a step", f"<= {most}", each, each <= most)
        waits = found.waits / COUNTED
        yield Check(f"{name}: waits a step", f"<= {WAITS}", waits, waits <= WAITS)
        if found.busy is not None:
            yield Check(f"{name}: share of time that the device computes", "", found.busy)


def of_an_expert(bench: Bench) -> Counts:
    recipe, device = parsed(MTT_AND_MMD), bench.device
    plan = recipe.objective.expert_plan.model_copy(update={"epochs": 99, "batch": 64})
    task = opened(recipe)
    network = plan.network.build(task, 0).to(device)
    losses = Course(plan, task, network, seed=0, index=0, device=device).losses()
    return counted(bench, losses, [torch.optim.SGD(network.parameters(), lr=0.01)])


def of_an_objective(bench: Bench, recipe: Recipe, objective: Objective) -> Counts:
    task, device = opened(recipe), bench.device
    files = random_trajectory(recipe, task, bench.folder / f"{objective.kind}.safetensors")
    source = random_source(recipe, task, device)
    experts = recorded(recipe, task, files, device)
    context = ObjectiveContext(task, seed=0, steps=99, experts=experts, device=device)
    parameters = source.train_only(recipe.optimizers)
    optimizers = [spec.build(parameters[name]) for name, spec in recipe.optimizers.items()]
    return counted(bench, objective.losses(source, context), optimizers)


class Metered:
    """Data whose batches are steps: counting begins with one and ends with another."""

    def __init__(self, data: Any, bench: Bench) -> None:
        self._data, self._card, self._batches = data, bench.card, 0
        self.found: Counts | None = None

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._batches == WARM_UP:
            self._card.begin()
        if self._batches == WARM_UP + COUNTED:
            self.found = self._card.end()
        self._batches += 1
        images, labels = self._data.batch(epoch, indices, device=device)
        return images, labels


def of_an_evaluation(bench: Bench) -> Counts:
    task, device = load_task("digits"), bench.device
    protocol = get_protocol("standard").model_copy(update={"batch": 64})  # 14 in an epoch
    data = Metered(d3data.load("digits-ipc4", output="normalized"), bench)
    network = build(protocol.network, channels=1, size=8, classes=10, seed=0).to(device)
    setup = EvalSetup(task, task.test, protocol, device)
    steps = WARM_UP + COUNTED + 1
    TrialTraining(network, data, setup, seed=0, steps=steps).run(None, lambda *_: None, points=0)
    return data.found


def host(bench: Bench) -> Iterator[Check]:
    """CPU time that a step takes for drawing indices and numbers."""
    for (name, kind), bar in HOST_MS.items():
        recipe = get_recipe(name)
        task = opened(recipe)
        (objective,) = (leaf for leaf in recipe.objective.leaves if leaf.kind == kind)
        source = blank(recipe, task)
        context = ObjectiveContext(task, seed=0, steps=99)
        times = []
        for step in range(bench.pick(30, 3)):
            began = time.process_time()
            draw(objective, source, context, step)
            times.append(1e3 * (time.process_time() - began))
        found = round(statistics.median(times[1:]), 2)
        what = f"{name}, {kind}: CPU ms a step for indices and numbers"
        yield Check(what, f"<= {bar:g}", found, found <= bar if bench.real else None)


def draw(objective: Any, source: Any, context: ObjectiveContext, step: int) -> None:
    """What the host decides for a step of mean or kernel matching."""
    rng, change = context.rng(objective.kind, step), getattr(objective, "augment", "none")
    items = sample_items(source, objective.samples, rng)
    choose_real(context, getattr(objective, "real", objective.samples), rng)
    source.noise(items.numel(), rng)
    augment.augmentation(change).draw(1, rng, shared=True)


def memory(bench: Bench) -> Iterator[Check]:
    """A step of each objective of imagenet-ipc2: bytes beside those that are told, and ms."""
    recipe = get_recipe("imagenet-ipc2", overrides=bench.pick([], TINY))
    task = opened(recipe)
    files = random_trajectory(recipe, task, bench.folder / "snapshots.safetensors")
    for objective in recipe.objective.leaves:
        expected = foretold(recipe, task, objective)
        found, milliseconds = stepped(bench, recipe, task, objective, files)
        close = abs(found / expected - 1) <= WITHIN
        gigabytes = [round(size / 1e9, 6) for size in (found, expected)]
        must = f"within {WITHIN:.0%} of what is told"
        yield Check(f"imagenet-ipc2, {objective.kind}: GB, and told", must, gigabytes, close)
        yield Check(f"imagenet-ipc2, {objective.kind}: ms a step", "", milliseconds)


def foretold(recipe: Recipe, task: Task, objective: Objective) -> int:
    """Bytes of a step, beyond what is there before it."""
    source: Any = blank(recipe, task).to(META)
    source.train_only(recipe.optimizers)
    experts = UnrecordedExperts(recipe.objective.expert_plan, task, (), device=META)
    how: Any = {"device": META, "compute": recipe.compute, "experts": experts}
    losses = objective.losses(source, ObjectiveContext(task, seed=0, steps=99, **how))
    kept = (1 + MOMENTS) * sum(parameter.nbytes for parameter in source.parameters())
    return traced((source, losses, experts)).memory - kept


def stepped(
    bench: Bench, recipe: Recipe, task: Task, objective: Objective, files: list[Path]
) -> tuple[int, float]:
    """Peak bytes of the first step, and milliseconds of the next ones."""
    source, device = random_source(recipe, task, bench.device), bench.device
    source.train_only(recipe.optimizers)
    experts = recorded(recipe, task, files, device)
    how: Any = {"device": device, "compute": recipe.compute, "experts": experts}
    losses = objective.losses(source, ObjectiveContext(task, seed=0, steps=99, **how))
    with recipe.compute.precisely(device):
        bench.card.forget()
        next(losses).backward()
        bench.card.wait()
        peak = bench.card.peak()
        began = time.perf_counter()
        for _ in range(TIMED):
            source.zero_grad(set_to_none=True)
            next(losses).backward()
        bench.card.wait()
        return peak, round(1e3 * (time.perf_counter() - began) / TIMED, 1)
