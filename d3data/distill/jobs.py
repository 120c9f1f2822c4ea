"""What a run consists of: pure functions of a JSON-able job, each of which writes one result.

A job may be killed at any moment and done again, by another process: its result is whole or not
there, and a subtask goes on from its checkpoint.
"""

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import safetensors.torch
import torch
from pydantic import Field
from torch import Tensor

from d3data.artifact.part import Part
from d3data.distill import experts
from d3data.distill.engine import optimize
from d3data.distill.experts import ExpertPlan, Experts
from d3data.distill.progress import START, MetricsLog, Report, watching
from d3data.distill.recipe import Recipe
from d3data.distill.soft_labels import relabel
from d3data.distill.stages import Setting, Stage
from d3data.distill.starts import STARTS
from d3data.errors import RunError
from d3data.images.spec import Image
from d3data.images.tasks import Task, TaskSpec
from d3data.nets.checkpoint import Checkpoint, Saved
from d3data.sources import registry
from d3data.sources.base import Source
from d3data.utils import rng
from d3data.utils.atomic import write_bytes, write_json
from d3data.utils.device import as_device, using_threads
from d3data.utils.hashing import file_sha256
from d3data.utils.schema import Frozen

OWN = ("decoder", "pixels", "priors")  # what a subtask makes; labels come after all of them

Load = Callable[[TaskSpec, str | None], Task]


class _Job(Frozen):
    """What all jobs have: the run's `folder`, its recipe, and where and how wide to compute.

    The same job gives the same bits on the CPU at one number of `threads`.
    """

    name: str
    folder: Path
    recipe: Recipe
    data: str | None
    classes: tuple[int, ...]
    device: str
    threads: int = Field(ge=1)

    def task(self, load: Load) -> Task:
        """The task of the job's classes."""
        return load(self.recipe.task, self.data).subtask(self.classes)


class ExpertJob(_Job):
    """Train expert number `index` of a plan on some classes and write its trajectory to `path`."""

    kind: Literal["expert"] = "expert"
    plan: ExpertPlan
    index: int
    path: Path

    @property
    def done(self) -> bool:
        """Whether the trajectory is there."""
        return self.path.exists()

    def perform(self, report: Report, load: Load) -> None:
        """Train it, from its beginning."""
        task, seed = self.task(load), self.recipe.seed
        steps = self.plan.steps(task)
        experts.record(
            self.plan,
            task,
            seed=seed,
            index=self.index,
            path=self.path,
            device=as_device(self.device),
            compute=self.recipe.compute,
            watch=watching(report, "expert", steps),
        )


class SubtaskJob(_Job):
    """Distil some classes: warm start, then the objective; from the checkpoint if there is one."""

    kind: Literal["subtask"] = "subtask"
    number: int
    experts: tuple[Path, ...]
    save_every: float = Field(ge=0, description="seconds between checkpoints")

    @property
    def place(self) -> Path:
        """The subtask's folder."""
        return subtask_folder(self.folder, self.number)

    @property
    def done(self) -> bool:
        """Whether the result is there and is the one that was written."""
        result, state = self.place / "result.safetensors", read_state(self.place)
        return result.exists() and state.get("sha256") == file_sha256(result)

    def perform(self, report: Report, load: Load) -> None:
        """Write `result.safetensors`, then `state.json` with its hash."""
        task, device = self.task(load), as_device(self.device)
        checkpoint = Checkpoint(
            self.place / "checkpoint.safetensors", every_seconds=self.save_every
        )
        saved = checkpoint.read()
        plan = self.recipe.objective.expert_plan if self.recipe.objective else None
        recorded = Experts(plan, task, self.experts, device=device) if plan else None
        seed = rng.derive(self.recipe.seed, "subtask", self.number)
        setting = Setting(self.recipe, task, seed, device, recorded)
        source = blank(self.recipe, task).to(device)
        with MetricsLog(self.place / "metrics.jsonl", report) as journal:
            journal.load_state_dict(saved.states["journal"] if saved else START)
            _stages(source, setting, checkpoint, journal, saved)
            seconds = journal.seconds
        stored = self.recipe.quantization.within(OWN)
        content = Part.of(source.cpu(), classes=self.classes, quantization=stored).encode()
        write_bytes(self.place / "result.safetensors", content)
        state = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "classes": self.classes,
            "seconds": round(seconds, 3),
            "device": _device_name(device),
        }
        write_json(self.place / "state.json", state)

    def part(self, task: Task) -> Part:
        """The part that the finished job has written.

        Raises:
            RunError: it is not there.
        """
        path = self.place / "result.safetensors"
        if not self.done:
            raise RunError(f"{path} is not the one that was written: start the run again")
        return Part.decode(
            path.read_bytes(),
            spec=self.recipe.source,
            image=image_of(task),
            labels=None,
            where=str(path),
            quantization=self.recipe.quantization.within(OWN),
        )


class LabelsJob(_Job):
    """Label one subtask's items by teachers of the whole task (`classes` are all classes)."""

    kind: Literal["labels"] = "labels"
    subtask: SubtaskJob
    teachers: tuple[Path, ...]

    @property
    def path(self) -> Path:
        """Where the labels go."""
        return self.subtask.place / "labels.safetensors"

    @property
    def done(self) -> bool:
        """Whether the labels are there, are those that were written, and of this result."""
        state = _read_json(self.subtask.place / "labels.json")
        result = read_state(self.subtask.place).get("sha256")
        return (
            self.path.exists()
            and state.get("sha256") == file_sha256(self.path)
            and state.get("result") == result
        )

    def perform(self, report: Report, load: Load) -> None:
        """Write the labels (N, K) of the subtask's items, then `labels.json` with their hash."""
        config = self.recipe.labels
        assert config is not None
        task, device = self.task(load), as_device(self.device)
        teachers = Experts(config.teacher, task, self.teachers, device=device)
        source = self.subtask.part(task).source(self.recipe.source, image_of(task)).to(device)
        seed = rng.derive(self.recipe.seed, "labels", self.subtask.number)
        labels = relabel(source, teachers, config, seed=seed)
        content = safetensors.torch.save({"labels": labels})
        write_bytes(self.path, content)
        state = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "result": read_state(self.subtask.place)["sha256"],
        }
        write_json(self.subtask.place / "labels.json", state)

    def labels(self) -> Tensor:
        """The labels (N, K) that the finished job has written.

        Raises:
            RunError: they are not there.
        """
        if not self.done:
            raise RunError(f"{self.path} is not the one that was written: start the run again")
        found: Tensor = safetensors.torch.load(self.path.read_bytes())["labels"]
        return found


Job = ExpertJob | SubtaskJob | LabelsJob
AnyJob: pydantic.TypeAdapter[Job] = pydantic.TypeAdapter(
    Annotated[Job, Field(discriminator="kind")]
)


def perform(job: Job, report: Report, load: Load) -> None:
    """Do a job, unless it is done, at its number of threads.

    Raises:
        D3DataError: it cannot be done, and would not be if it were tried again.
    """
    if job.done:
        return
    with _machine(job):
        job.perform(report, load)


def loader() -> Load:
    """A way to load tasks that remembers the last one, for the jobs of one process."""
    return functools.lru_cache(maxsize=1)(lambda spec, data: spec.load(data))


def blank(recipe: Recipe, task: Task) -> Source:
    """The recipe's source for `task`, its tensors still to be filled."""
    classes = torch.arange(len(task.classes)).repeat_interleave(recipe.items_per_class)
    with rng.seeded(recipe.seed, "blank"):
        return registry.blank(
            recipe.source, image_of(task), classes=classes, step_size=recipe.step_size
        )


def image_of(task: Task) -> Image:
    """The shape and normalisation of a task's images."""
    return Image(channels=task.rule.channels, size=task.size, mean=task.mean, std=task.std)


def subtask_folder(run: Path, number: int) -> Path:
    """Where a subtask of a run keeps its files."""
    return run / "subtasks" / f"{number:03d}"


def read_state(place: Path) -> Mapping[str, Any]:
    """What `state.json` of a subtask says; empty if there is none or it is broken."""
    return _read_json(place / "state.json")


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        state = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _stages(
    source: Source,
    setting: Setting,
    checkpoint: Checkpoint,
    journal: MetricsLog,
    saved: Saved | None,
) -> None:
    """Take the stages that the checkpoint has not left behind."""

    def stage(name: str, steps: int) -> Stage:
        mine = saved if saved is not None and saved.stage == name else None
        return Stage(name, steps, checkpoint, journal, mine)

    recipe, start = setting.recipe, STARTS[setting.recipe.source.kind]
    if saved is None or saved.stage == "warm start":
        start.fill(source, stage("warm start", start.steps(recipe)), setting)
    if recipe.steps and (saved is None or saved.stage != "quantize"):
        optimize(source, stage("distill", recipe.steps), setting)
    if recipe.quantize.steps:
        fresh = replace(setting, seed=rng.derive(setting.seed, "quantize"))
        optimize(source, stage("quantize", recipe.quantize.steps), fresh, rounded=True)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextlib.contextmanager
def _machine(job: Job) -> Iterator[None]:
    """Set torch to the job's threads and, on the CPU, to sums whose order is fixed."""
    strict = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(job.device == "cpu" or strict)
    try:
        with using_threads(job.threads):
            yield
    finally:
        torch.use_deterministic_algorithms(strict)
