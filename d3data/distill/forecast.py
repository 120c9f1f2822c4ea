"""What a run will take: a step of each stage is followed through without computing anything.

Shapes go through torch's meta device, so that the largest recipe is planned on the smallest
machine. Operations are those of convolutions and matrix products, two for each multiplication
with its addition; memory is that of parameters and of all that autograd keeps to go back.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from d3data import nets
from d3data.artifact.quantize import stored_bytes
from d3data.distill import experts
from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import FLOAT, ExpertPlan, Experts
from d3data.distill.jobs import SubtaskJob, blank
from d3data.distill.plan import Plan
from d3data.distill.stages import Setting
from d3data.distill.starts import STARTS
from d3data.errors import DeviceError, nearest
from d3data.images.tasks import Task
from d3data.nets.flops import FORMULAS
from d3data.nets.network import logits
from d3data.sources.base import Source
from d3data.sources.registry import layout
from d3data.utils.device import as_device
from d3data.utils.schema import Frozen

META = torch.device("meta")
COPIES = 4  # of a parameter: itself, its gradient, and two moments
SECONDS = 2.0  # for how long steps are timed
SHARE = 0.3  # of a peak that small convolutions are taken to reach; not measured

# float32 operations a second without tensor cores, of NVIDIA's data sheets
PEAKS = {
    "A100": 19.5e12,
    "H100": 66.9e12,
    "L40S": 91.6e12,
    "RTX4090": 82.6e12,
    "T4": 8.1e12,
    "V100": 15.7e12,
}


class Stage(Frozen):
    """What one stage of a run takes.

    Attributes:
        name: experts, warm start, distill or labels.
        jobs: that may be done at the same time.
        steps: of all jobs.
        flops: of all steps.
        memory: bytes of one job at most, real images and workspaces aside.
        disk: bytes that are written and kept.
        traffic: bytes of trajectories that are read: over a network, where the folder is on one.
    """

    name: str
    jobs: int
    steps: int
    flops: int
    memory: int
    disk: int = 0
    traffic: int = 0

    def __add__(self, other: "Stage") -> "Stage":
        """The same stage with the jobs of both."""
        return Stage(
            name=self.name,
            jobs=self.jobs + other.jobs,
            steps=self.steps + other.steps,
            flops=self.flops + other.flops,
            memory=max(self.memory, other.memory),
            disk=self.disk + other.disk,
            traffic=self.traffic + other.traffic,
        )

    def times(self, jobs: int) -> "Stage":
        """The same stage with so many jobs like its own."""
        summed = ("jobs", "steps", "flops", "disk", "traffic")
        return self.model_copy(update={name: jobs * getattr(self, name) for name in summed})

    def hours(self, rate: float) -> float:
        """Of all jobs, one after the other, at `rate` operations a second."""
        return self.flops / rate / 3600


def forecast(plan: Plan) -> list[Stage]:
    """The stages of a run and what each takes, as if nothing were done yet."""
    found: dict[str, Stage] = {}
    for stage in _stages(plan):
        found[stage.name] = found[stage.name] + stage if stage.name in found else stage
    return list(found.values())


def rates(plan: Plan, device: str, gpu: str | None = None) -> dict[str, float]:
    """Operations a second: of `device` here, measured, and of a `gpu` elsewhere, supposed.

    Steps of one of the plan's experts are timed, or of one as published where it has none,
    computed as the recipe says, without reading its images. An accelerator that is not here is
    taken to reach `SHARE` of its peak.

    Raises:
        DeviceError: this machine does not have the device, it cannot compile what the recipe lets
            it compile, or nothing is known of that GPU.
    """
    place = as_device(device)
    here = torch.cuda.get_device_name(place) if place.type == "cuda" else f"this {place.type}"
    found = {here: _measured(place, plan)}
    if gpu is None:
        return found
    name = gpu.upper().replace(" ", "")
    if name not in PEAKS:
        raise DeviceError(f"no peak of {gpu!r} is known: {nearest(name, PEAKS)}")
    return found | {f"{name} at {SHARE:.0%} of its peak": SHARE * PEAKS[name]}


def _measured(place: torch.device, plan: Plan) -> float:
    compute, expert, task = plan.recipe.compute, ExpertPlan(), plan.task
    if plan.experts:
        expert, task = plan.experts[0].plan, task.subtask(plan.experts[0].classes)
    shape = task.rule.channels, task.size, task.size
    network = expert.network.build(task, 0).to(place)
    images = torch.zeros(expert.batch, *shape, device=place)
    labels = torch.zeros(expert.batch, dtype=torch.int64, device=place)

    def step() -> None:
        network.zero_grad()
        loss = cross_entropy(compute(logits, network, images), labels)
        loss.backward()
        loss.item()

    step()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        step()
        steps += 1
    flops = expert.batch * nets.count_flops(network, shape).training
    return steps * flops / (time.perf_counter() - began)


class Work(NamedTuple):
    """What steps take: operations of one on average, bytes of one at most."""

    flops: float
    memory: int


def traced(losses: Iterator[Tensor], steps: int) -> Work:
    """Follow `steps` of a stream on the meta device, back to the gradients of each loss."""
    flops, most = 0, 0
    for _ in range(steps):
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
        with counter, Weightless(), hooks:  # type: ignore[no-untyped-call]
            next(losses).backward()
        flops += counter.get_total_flops()
        most = max(most, sum(kept.values()))
    return Work(flops / steps, most)


class Weightless(TorchDispatchMode):
    """Where one tensor is on the meta device, all are: images and labels are followed there."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func` on the meta device, if one of its arguments is there."""
        given = args, kwargs or {}
        if any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_leaves(given)):
            given = tree_map_only(Tensor, lambda tensor: tensor.to(META), given)
        return func(*given[0], **given[1])


class Imagined(Experts):
    """Trajectories that nobody recorded: snapshots without values, and how often they are read."""

    def __init__(self, plan: ExpertPlan, task: Task) -> None:
        super().__init__(plan, task, (), device=META)
        self._parameters, self.read = plan.parameters(task), 0

    def __len__(self) -> int:
        """As many as the plan asks for."""
        return self.plan.count

    def snapshot(self, trajectory: int, epoch: int) -> Tensor:
        """(P,) without values."""
        self.read += 1
        return torch.empty(self._parameters, device=META)


def _stages(plan: Plan) -> Iterator[Stage]:
    """Those of each job; of subtasks with as many classes, one speaks for all."""
    groups = Counter((job.plan, job.classes) for job in plan.experts)
    for (wanted, classes), jobs in groups.items():
        yield _experts(wanted, plan.task.subtask(classes), jobs)
    alike = {len(job.classes): job for job in plan.subtasks}
    for classes_each, jobs in Counter(len(job.classes) for job in plan.subtasks).items():
        for stage in _subtask(plan, alike[classes_each]):
            yield stage.times(jobs)
        if plan.labels:
            yield _labels(plan, alike[classes_each]).times(jobs)


def _experts(plan: ExpertPlan, task: Task, jobs: int) -> Stage:
    network = plan.network.build(task, 0).to(META)
    work = traced(experts.epochs(plan, task, network, seed=0, index=0, device=META), 1)
    return _stage("experts", plan.steps(task), work, network, plan.trajectory_bytes(task)).times(
        jobs
    )


def _subtask(plan: Plan, job: SubtaskJob) -> Iterator[Stage]:
    recipe, task = plan.recipe, plan.task.subtask(job.classes)
    source = _weightless(blank(recipe, task))
    shapes = layout(
        recipe.source, plan.content.image, items=len(source.classes), classes=len(job.classes)
    )
    disk = stored_bytes(shapes, recipe.quantization)
    start = STARTS[recipe.source.kind]
    if start.steps(recipe):
        context = ObjectiveContext(task, seed=0, steps=1, device=META)
        training = start.training(source, Setting(recipe, task, 0, META), context)
        assert training is not None, "a start with steps trains something"
        yield _stage("warm start", start.steps(recipe), traced(training[1], 1), training[0])
    objective, steps = recipe.objective, recipe.steps + recipe.quantize.steps
    if objective is None:
        return
    turns = objective.period
    imagined = Imagined(objective.expert_plan, task) if objective.expert_plan else None
    context = ObjectiveContext(task, seed=0, steps=turns, experts=imagined, device=META)
    work = traced(objective.losses(source.requires_grad_(), context), turns)
    stage = _stage("distill", steps, work, source, disk)
    snapshots = imagined.read / turns * FLOAT * imagined.plan.parameters(task) if imagined else 0
    yield stage.model_copy(update={"traffic": round(steps * snapshots)})


def _labels(plan: Plan, job: SubtaskJob) -> Stage:
    config, task = plan.recipe.labels, plan.task
    assert config is not None
    source = _weightless(blank(plan.recipe, task.subtask(job.classes)))
    network = config.teacher.network.build(task, 0).to(META)
    images = len(source.classes) * max(1, config.draws) * config.teacher.count
    counter = FlopCounterMode(display=False)
    with counter, Weightless(), torch.no_grad():  # type: ignore[no-untyped-call]
        network(source.images(torch.zeros(1, dtype=torch.int64), None))
    work = Work(counter.get_total_flops(), 0)
    disk = FLOAT * len(source.classes) * len(task.classes)
    stage = _stage("labels", images, work, network, disk)
    snapshots = config.teacher.count * FLOAT * config.teacher.parameters(task)
    return stage.model_copy(update={"traffic": snapshots})


def _stage(name: str, steps: int, work: Work, module: nn.Module, disk: int = 0) -> Stage:
    own = sum(tensor.numel() for tensor in module.parameters())
    return Stage(
        name=name,
        jobs=1,
        steps=steps,
        flops=math.ceil(steps * work.flops),
        memory=COPIES * FLOAT * own + work.memory,
        disk=disk,
    )


def _weightless(source: Source) -> Source:
    """The source without values, but with its classes, by which items are chosen."""
    classes = source.classes
    source.to(META)
    source.classes = classes
    return source
