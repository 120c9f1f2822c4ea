"""What a run takes, known before any of it is done: jobs, steps, memory, disk, and hours.

A step of each stage is traced on torch's meta device (`tracing.py`), and timed where it can be.
"""

import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, repeat
from typing import Any

import torch

from d3data.artifact.quantize import stored_bytes
from d3data.distill.context import ObjectiveContext
from d3data.distill.engine import Setting
from d3data.distill.experts import FLOAT, Course, UnrecordedExperts
from d3data.distill.jobs import ExpertJob, RunJob, blank
from d3data.distill.plan import Plan
from d3data.distill.starts import STARTS
from d3data.distill.straight_through import as_distilled
from d3data.distill.tracing import META, Work, traced
from d3data.errors import DeviceError, entry
from d3data.nets.compute import Compute
from d3data.sources.registry import layout
from d3data.utils.device import as_device, device_memory, using_threads

ENDLESS = 10**9  # steps
TIMED_STEPS, TIMED_SECONDS = 10, 5.0  # at most
TIMED_FLOPS = 2e12  # of a step that is timed on a CPU, at most
SHARE = 0.3  # of its peak that a GPU is assumed to reach; not measured
PEAKS = {  # float32 operations a second without tensor cores, from NVIDIA's data sheets
    "A100": 19.5e12, "H100": 66.9e12, "L40S": 91.6e12,
    "RTX4090": 82.6e12, "T4": 8.1e12, "V100": 15.7e12,
}  # fmt: skip


@dataclass
class Stage:
    """What one stage of a run takes, in all its jobs; they may run at the same time.

    In bytes: `memory` of one job at most, without real images and workspaces, `disk` what is kept,
    `traffic` what is read of trajectories. If timed: `seconds` of all jobs one after the other,
    `wall` of as many at a time as there are workers.
    """

    name: str
    jobs: int = 0
    steps: int = 0
    flops: int = 0
    memory: int = 0
    disk: int = 0
    traffic: int = 0
    seconds: float | None = 0.0
    wall: float | None = 0.0


def forecast(
    plan: Plan, device: str = "cpu", *, workers: int = 1, steps: int = TIMED_STEPS
) -> list[Stage]:
    """The stages of a run and what each takes, as if nothing were done yet.

    Up to `steps` steps are timed on `device`, but not where black images stand for the real ones,
    where a job does not fit into the device's memory, or where a step is too long for a CPU.
    """
    place, stages = as_device(device), dict[str, Stage]()
    turns = plan.recipe.objective.period if plan.recipe.objective else 1
    for name, jobs, length, disk in _jobs(plan):
        job, count, stage = jobs[0], len(jobs), stages.setdefault(name, Stage(name))
        flops, memory, read = traced(_begin(name, job, plan, META), turns)
        stage.jobs += count
        stage.steps += count * length
        stage.flops += count * math.ceil(length * flops)
        stage.memory = max(stage.memory, memory)
        stage.disk += count * disk
        stage.traffic += count * round(length * read)
        fits = memory < device_memory(place) and (place.type != "cpu" or flops < TIMED_FLOPS)
        if plan.imagined or not fits:
            stage.seconds = stage.wall = None
        elif stage.seconds is not None and stage.wall is not None:
            with using_threads(job.threads), job.recipe.compute.precisely(place):
                seconds = timed(_begin(name, job, plan, place), turns, steps)
            stage.seconds = seconds and stage.seconds + count * length * seconds
            rounds = -(-count // workers)
            stage.wall = seconds and stage.wall + rounds * length * seconds
    return list(stages.values())


def start_seconds() -> float:
    """How long a worker takes here until it computes: most of that is importing torch."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import d3data.distill.jobs"], check=True)
    return time.perf_counter() - began


def gpu_speed(name: str) -> float:
    """Operations a second of a GPU at 30 % of its peak; DeviceError if that is not known."""
    return SHARE * entry(PEAKS, name.upper().replace(" ", ""), what="GPU", error=DeviceError)


def _jobs(plan: Plan) -> Iterator[tuple[str, Sequence[RunJob], int, int]]:
    """Jobs that take the same, with the name of their stage, and the steps and disk of each."""
    recipe = plan.recipe
    for (wanted, classes), alike in groupby(plan.experts, lambda job: (job.plan, job.classes)):
        task = plan.task.subtask(classes)
        yield "experts", [*alike], wanted.steps(task), wanted.trajectory_bytes(task)
    counts = recipe.items(plan.task.train.counts())

    def size(job: RunJob) -> tuple[int, int]:
        return len(job.classes), sum(counts[label] for label in job.classes)

    for (each, items), same in groupby(sorted(plan.subtasks, key=size), size):
        jobs = [*same]
        if start := STARTS[recipe.source.kind].steps(recipe):
            yield "warm start", jobs, start, 0
        if recipe.objective is not None:
            shapes = layout(recipe.source, plan.content.image, items=items, classes=each)
            disk = stored_bytes(shapes, recipe.quantization)
            yield "distill", jobs, recipe.steps + recipe.quantize.steps, disk
        if recipe.labels is not None:
            images = items * max(1, recipe.labels.draws) * recipe.labels.teacher.count
            yield "labels", jobs, images, FLOAT * items * len(plan.task.classes)


def _begin(stage: str, job: RunJob, plan: Plan, device: torch.device) -> Work:
    """What a job trains, from a source without values; its losses, one a step; its experts."""
    recipe, task = plan.recipe, plan.task.subtask(job.classes)
    eager = Compute(at_once=recipe.compute.at_once)
    options: Any = {"device": device, "compute": eager if device == META else recipe.compute}
    if isinstance(job, ExpertJob):
        network = job.plan.network.build(task, 0).to(device)
        course = Course(job.plan, task, network, seed=0, index=0, **options)
        return network, course.losses(), None
    source: Any = blank(recipe, task, classes=job.classes)
    source.requires_grad_(stage == "distill").to(device)
    if stage == "labels":
        assert recipe.labels is not None
        network = recipe.labels.teacher.network.build(plan.task, 0).to(device)
        network.requires_grad_(False)
        item = source.classes.new_zeros(1)
        return network, (network(source.images(item, None)).sum() for _ in repeat(0)), None
    wanted = recipe.objective.expert_plan if recipe.objective else None
    recorded = UnrecordedExperts(wanted, task, (), device=device) if wanted else None
    context = ObjectiveContext(task, seed=0, steps=ENDLESS, experts=recorded, **options)
    if stage == "warm start":
        setting = Setting(recipe, task, 0, device)
        training = STARTS[recipe.source.kind].training(source, setting, context)
        assert training is not None, "a start with steps trains something"
        return *training, recorded
    assert recipe.objective is not None
    rounded = recipe.quantize.steps > recipe.steps
    seen = source if device == META else as_distilled(source, recipe, rounded=rounded)
    return source, recipe.objective.losses(seen, context), recorded


def timed(work: Work, turns: int = 1, steps: int = TIMED_STEPS) -> float | None:
    """The seconds of a step with an optimizer, on average of so many or of all there are.

    None where the device's memory is too small after all.
    """
    try:
        return _timed(work, turns, steps)
    except torch.OutOfMemoryError:
        return None


def _timed(work: Work, turns: int, steps: int) -> float:
    module, losses, _ = work
    optimizer = torch.optim.Adam(module.parameters(), lr=0.0)
    times = [time.perf_counter()]
    for loss in islice(losses, turns + steps):
        if loss.requires_grad:
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for the device
        times.append(time.perf_counter())
        if len(times) > turns + 1 and times[-1] - times[turns] > TIMED_SECONDS:
            break
    times = times[turns:] if len(times) > turns + 1 else times  # the first ones compile
    return (times[-1] - times[0]) / (len(times) - 1)
