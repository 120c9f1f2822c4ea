"""The jobs of a run, each of which writes one result.

A subtask and an expert go on from their checkpoints.
"""

import contextlib
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import Field
from torch import Tensor

from d3data.artifact.part import Part
from d3data.distill import experts
from d3data.distill.engine import START, MetricsLog, Setting, Stage, optimize
from d3data.distill.experts import ExpertPlan, Experts
from d3data.distill.objectives.regression import Regression
from d3data.distill.recipe import Recipe
from d3data.distill.soft_labels import relabel
from d3data.distill.starts import STARTS, finished
from d3data.errors import RunError
from d3data.executors.base import LOCK, Job, Memory
from d3data.images.decoded import stored_images
from d3data.images.spec import Image
from d3data.images.tasks import Task, TaskSpec
from d3data.nets.checkpoint import Checkpoint
from d3data.sources import registry
from d3data.sources.base import Source
from d3data.utils import rng
from d3data.utils.atomic import write_bytes, write_json
from d3data.utils.device import as_device, device_name, enough_memory, using_threads
from d3data.utils.hashing import file_sha256
from d3data.utils.lock import hold_range
from d3data.utils.progress import Progress, ReportProgress, after_each_step

LESS = (
    "hold fewer images at once (--set compute.at_once=256), look at fewer (samples, real, batch), "
    "or do fewer jobs at a time on it (--workers)"
)
CHECKPOINT, LOADER = "checkpoint.safetensors", "d3data.distill loads"

Load = Callable[[TaskSpec, str | None, tuple[Path, ...]], Task]


class RunJob(Job):
    """What all jobs of a run have, whose folder is `folder`.

    Where the training images do not fit into memory, `images` are the files that hold them
    decoded. The same job gives the same bits on the CPU at one number of `threads`.
    """

    recipe: Recipe
    data: str | None
    classes: tuple[int, ...]
    images: tuple[Path, ...] = ()

    @property
    def reads(self) -> tuple[Path, ...]:
        return self.images

    @property
    def done(self) -> bool:
        """Whether the result is there, and whole."""
        raise NotImplementedError

    def work(self, report: ReportProgress, load: Load) -> None:
        """Make the result."""
        raise NotImplementedError

    def perform(self, report: ReportProgress, memory: Memory) -> None:
        """Do it unless it is done, at its threads; on the CPU with sums in fixed order."""
        if self.done:
            return
        for path in self.writes:
            for left in path.parent.glob(f".{path.name}.*"):  # of one that was killed
                left.unlink(missing_ok=True)
        precisely = self.recipe.compute.precisely(as_device(self.device))
        with (
            _deterministic(self.device == "cpu"),
            using_threads(self.threads),
            precisely,
            enough_memory(LESS),
        ):
            self.work(report, memory.setdefault(LOADER, loader()))

    def task(self, load: Load) -> Task:
        return load(self.recipe.task, self.data, self.images).subtask(self.classes)


class ImagesJob(RunJob):
    """Decode the training images from number `first` to before `end` into a file at `path`."""

    first: int
    end: int
    path: Path

    @property
    def writes(self) -> tuple[Path, ...]:
        return (self.path,)

    @property
    def done(self) -> bool:
        try:
            return len(stored_images(self.path)) == self.end - self.first
        except RunError:
            return False

    def work(self, report: ReportProgress, load: Load) -> None:
        def told(done: int) -> None:
            report(Progress("images", done, self.end - self.first))

        self.task(load).train.store(range(self.first, self.end), self.path, told)


class ExpertJob(RunJob):
    """Train expert number `index` of a plan on some classes and write its trajectory to `path`."""

    plan: ExpertPlan
    index: int
    path: Path
    save_every: float = Field(default=30.0, ge=0, description="seconds between checkpoints")

    @property
    def done(self) -> bool:
        return self.path.exists()

    @property
    def writes(self) -> tuple[Path, ...]:
        return self.path, experts.checkpoint_of(self.path)

    def perform(self, report: ReportProgress, memory: Memory) -> None:
        """Do it, unless another run that shares these experts has done it meanwhile."""
        with hold_range(self.path.parent / LOCK, self.path.name, patience=math.inf):
            super().perform(report, memory)

    def work(self, report: ReportProgress, load: Load) -> None:
        task = self.task(load)
        experts.record(
            self.plan,
            task,
            seed=self.recipe.seed,
            index=self.index,
            path=self.path,
            device=as_device(self.device),
            compute=self.recipe.compute,
            save_every=self.save_every,
            watch=after_each_step(report, "expert", self.plan.steps(task)),
        )


class SubtaskJob(RunJob):
    """Distil some classes: warm start, then the objective; from the checkpoint if there is one."""

    number: int
    experts: tuple[Path, ...]
    weights: Path | None = None
    save_every: float = Field(ge=0, description="seconds between checkpoints")

    @property
    def place(self) -> Path:
        return subtask_folder(self.folder, self.number)

    @property
    def result(self) -> "Result":
        return Result(self.place / "result.safetensors", self.place / "state.json")

    @property
    def done(self) -> bool:
        return self.result.whole

    @property
    def writes(self) -> tuple[Path, ...]:
        names = "result.safetensors", "state.json", CHECKPOINT, "metrics.jsonl"
        return tuple(self.place / name for name in names)

    @property
    def reads(self) -> tuple[Path, ...]:
        return *self.images, *self.experts, self.folder / finished.FOLDER

    def work(self, report: ReportProgress, load: Load) -> None:
        task, device = self.task(load), as_device(self.device)
        checkpoint = Checkpoint(self.place / CHECKPOINT, every_seconds=self.save_every)
        saved, recipe = checkpoint.read(), self.recipe
        plan = recipe.objective.expert_plan if recipe.objective else None
        recorded = Experts(plan, task, self.experts, device=device) if plan else None
        seed = rng.derive(recipe.seed, "subtask", self.number)
        setting = Setting(recipe, task, seed, device, recorded, self.classes, self.weights)
        source = blank(recipe, task, classes=self.classes).to(device)
        start = STARTS[recipe.source.kind]
        with MetricsLog(self.place / "metrics.jsonl", report) as journal:
            journal.load_state_dict(saved.states["journal"] if saved else START)

            def stage(name: str, steps: int) -> Stage:
                mine = saved if saved is not None and saved.stage == name else None
                return Stage(name, steps, checkpoint, journal, mine)

            if saved is None and (made := finished.kept(self.folder)):
                finished.fill(source, made, classes=self.classes, image=image_of(task))
            elif saved is None or saved.stage == "warm start":
                start.fill(source, stage("warm start", start.steps(recipe)), setting)
            if recipe.steps and (saved is None or saved.stage != "quantize"):
                optimize(source, stage("distill", recipe.steps), setting)
            if recipe.quantize.steps:
                fresh = replace(setting, seed=rng.derive(seed, "quantize"))
                optimize(source, stage("quantize", recipe.quantize.steps), fresh, rounded=True)
            seconds = round(journal.seconds, 3)
        part = Part.of(
            source.cpu(), classes=self.classes, quantization=recipe.quantization_of_subtasks
        )
        on = device_name(device)
        self.result.write(part.encode(), classes=self.classes, seconds=seconds, device=on)

    def part(self, task: Task) -> Part:
        return Part.decode(
            self.result.read(),
            spec=self.recipe.source,
            image=image_of(task),
            labels=len(task.classes) if self.recipe.learn_labels else None,
            targets=self.recipe.learn_labels,
            where=str(self.result.path),
            quantization=self.recipe.quantization_of_subtasks,
        )


class LabelsJob(RunJob):
    """Label one subtask's items by teachers of the whole task (`classes` are all classes)."""

    subtask: SubtaskJob
    teachers: tuple[Path, ...]

    @property
    def result(self) -> "Result":
        place = self.subtask.place
        return Result(place / "labels.safetensors", place / "labels.json")

    @property
    def done(self) -> bool:
        of = self.subtask.result.state.get("sha256")
        return self.result.whole and self.result.state.get("result") == of

    @property
    def writes(self) -> tuple[Path, ...]:
        return self.result.path, self.result.about

    @property
    def reads(self) -> tuple[Path, ...]:
        return *self.images, *self.teachers, self.subtask.result.path, self.subtask.result.about

    def work(self, report: ReportProgress, load: Load) -> None:
        config = self.recipe.labels
        assert config is not None
        task, device = self.task(load), as_device(self.device)
        teachers = Experts(config.teacher, task, self.teachers, device=device)
        source = self.subtask.part(task).source(self.recipe.source, image_of(task)).to(device)
        seed = rng.derive(self.recipe.seed, "labels", self.subtask.number)
        labels = relabel(source, teachers, config, seed=seed)
        content = safetensors.torch.save({"labels": labels})
        self.result.write(content, result=self.subtask.result.state["sha256"])

    def labels(self) -> Tensor:
        return safetensors.torch.load(self.result.read())["labels"]


class Result:
    """A file of a finished job at `path`; JSON at `about` says its sha256, and more."""

    def __init__(self, path: Path, about: Path) -> None:
        self.path, self.about = path, about

    @property
    def state(self) -> Mapping[str, Any]:
        try:
            state = json.loads(self.about.read_bytes())
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    @property
    def whole(self) -> bool:
        return self.path.exists() and self.state.get("sha256") == file_sha256(self.path)

    def write(self, content: bytes, **more: Any) -> None:
        write_bytes(self.path, content)
        write_json(self.about, {"sha256": hashlib.sha256(content).hexdigest(), **more})

    def read(self) -> bytes:
        """The content of the file; RunError if it is not the one that was written."""
        if not self.whole:
            raise RunError(f"{self.path} is not the one that was written: start the run again")
        return self.path.read_bytes()


@contextlib.contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    debugging: Any = torch.utils.deterministic  # would fill all new memory with NaN
    enabled = torch.are_deterministic_algorithms_enabled()
    filling = debugging.fill_uninitialized_memory
    torch.use_deterministic_algorithms(wanted or enabled)
    debugging.fill_uninitialized_memory = enabled and filling
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled)
        debugging.fill_uninitialized_memory = filling


def loader(task: Task | None = None) -> Load:
    """A way to load tasks that remembers the last one, for the jobs of one process, or has one."""
    remember: Any = functools.lru_cache(maxsize=1)
    whole = remember(lambda spec, data: task or spec.load(data))
    load: Load = remember(lambda spec, data, images: whole(spec, data).stored(images))
    return load


def blank(recipe: Recipe, task: Task, *, classes: Sequence[int] | None = None) -> Source:
    """The recipe's source for `task`, which has these classes, its tensors still to be filled."""
    items = torch.tensor(recipe.items(task.train.counts(), of=classes))
    kinds = torch.arange(len(task.classes)).repeat_interleave(items)
    size = len(task.classes) if recipe.learn_labels else None
    rates: Any = {"step_size": recipe.step_size, "steps": recipe.step_sizes}
    with rng.seeded(recipe.seed, "blank"):
        source = registry.blank(recipe.source, image_of(task), classes=kinds, labels=size, **rates)
    if source.labels is not None:
        assert recipe.objective is not None
        (first, *_) = recipe.objective.leaves
        assert isinstance(first, Regression), "a recipe learns labels of what regresses"
        source.labels.data.copy_(first.goals(kinds, len(task.classes)))
    return source


def image_of(task: Task) -> Image:
    """The shape and normalization of a task's images."""
    return Image(
        channels=task.rule.channels,
        size=task.size,
        mean=task.mean,
        std=task.std,
        whitening=task.whitening,
    )


def subtask_folder(run: Path, number: int) -> Path:
    """Where a subtask of a run keeps its files."""
    return run / "subtasks" / f"{number:03d}"
