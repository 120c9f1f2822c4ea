"""What a run will do, known and checked before any of it is done."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import (
    AnyLabels,
    Content,
    HardLabels,
    PartEntry,
    SoftLabels,
    TargetLabels,
    format_of,
    part_paths,
)
from d3data.artifact.quantize import stored_bytes
from d3data.distill.experts import ExpertPlan, NetworkSpec
from d3data.distill.jobs import ExpertJob, ImagesJob, LabelsJob, RunJob, SubtaskJob, image_of
from d3data.distill.objectives.base import require_classes
from d3data.distill.recipe import Recipe
from d3data.distill.starts import STARTS
from d3data.errors import RecipeError, TrainingError, UnknownNameError
from d3data.images import augment
from d3data.images.tasks import UNSEEN, Task
from d3data.sources.base import purpose
from d3data.sources.registry import layout
from d3data.utils.device import Resources
from d3data.utils.paths import from_anywhere
from d3data.utils.schema import Frozen

MEMORY = 1 << 30  # bytes of decoded images that each worker may hold
LOT = 1 << 14  # images in a file, where they are more


@dataclass(frozen=True)
class Plan:
    """The jobs of a run and what they will make; `content` has no digests yet."""

    recipe: Recipe
    task: Task
    content: Content
    images: tuple[ImagesJob, ...]
    experts: tuple[ExpertJob, ...]
    subtasks: tuple[SubtaskJob, ...]
    labels: tuple[LabelsJob, ...]
    start: Artifact | None = None  # what it goes on from

    @property
    def imagined(self) -> bool:
        """Whether black images stand for real ones that are not here."""
        return self.task.fingerprint == UNSEEN

    @property
    def stages(self) -> Mapping[str, Sequence[RunJob]]:
        """What is done one after the other; the jobs of one stage in any order."""
        return {
            "images": self.images,
            "experts": self.experts,
            "subtasks": self.subtasks,
            "labels": self.labels,
        }

    @property
    def jobs(self) -> list[RunJob]:
        return [job for jobs in self.stages.values() for job in jobs]

    @property
    def undone(self) -> list[RunJob]:
        """What is still to be done; no images are decoded for nothing."""
        rest = [job for job in self.jobs if not job.done]
        return [] if all(isinstance(job, ImagesJob) for job in rest) else rest

    def numbers(self) -> dict[str, Any]:
        """What the run takes and gives, as numbers.

        `published_values` are counted as papers count them, `tensor_bytes` are those on disk.
        """
        content, recipe = self.content, self.recipe
        start = STARTS[recipe.source.kind].steps(recipe)
        tasks = {own: self.task.subtask(own) for own in {job.classes for job in self.experts}}
        wanted = [(job.plan, tasks[job.classes]) for job in self.experts]
        return {
            "classes": len(content.classes),
            "items": sum(part.items for part in content.parts),
            "experts": len(self.experts),
            "expert_steps": sum(plan.steps(task) for plan, task in wanted),
            "expert_bytes": sum(plan.trajectory_bytes(task) for plan, task in wanted),
            "subtasks": len(self.subtasks),
            "steps": len(self.subtasks) * (start + recipe.steps + recipe.quantize.steps),
            "published_values": sum(map(content.published_values, content.parts)),
            "tensor_bytes": sum(part.size for part in content.parts),
            "jobs_done": len(self.jobs) - len(self.undone),
            "jobs": len(self.jobs),
        }


def plan_run(
    recipe: Recipe,
    *,
    data: str | None,
    folder: Path,
    resources: Resources,
    threads: Mapping[str, int],
    experts: Path | None,
    save_every: float,
    imagine: bool,
) -> Plan:
    """The plan of a run in `folder`, whose stages may have numbers of `threads` already."""
    task = recipe.task.load(data, imagine=imagine)
    blocks = [sorted(block) for block in recipe.subtasks.split(len(task.classes))]
    content = _draft(recipe, task, blocks)
    _check(recipe, task, blocks)
    own = recipe.objective.expert_plan if recipe.objective else None
    teacher = recipe.labels.teacher if recipe.labels else None
    lots = _lots(task)
    counts = {"images": len(lots), "subtasks": len(blocks), "labels": len(blocks)}
    counts["experts"] = len(blocks) * own.count if own else 0
    counts["experts"] += teacher.count if teacher else 0
    common = {
        "recipe": recipe,
        "data": data and from_anywhere(data),  # workers begin in another folder
        "folder": folder.absolute(),
        "device": resources.device,
    }
    size, every = task.rule.size, tuple(range(len(task.classes)))
    named = recipe.warm_start.weights
    weights = None if named is None else Path(named).absolute()
    stages: dict[str, dict[str, Any]] = {
        stage: {**common, "threads": threads.get(stage) or resources.threads(count, size)}
        for stage, count in counts.items()
    }
    images = tuple(
        ImagesJob(
            **stages["images"],
            name=f"images {number:03d}",
            classes=every,
            first=lot.start,
            end=lot.stop,
            path=folder.absolute() / "images" / f"{number:03d}.npy",
        )
        for number, lot in enumerate(lots)
    )
    for stage in stages.values():
        stage["images"] = tuple(job.path for job in images)

    def trajectories(plan: ExpertPlan | None, classes: Sequence[int]) -> list[ExpertJob]:
        subtask, jobs = task.subtask(classes), []
        for index in range(plan.count if plan else 0):
            assert plan is not None
            name = plan.file_name(subtask, recipe.seed, index, recipe.compute, resources.device)
            path = (experts or folder / "experts").absolute() / name
            job = ExpertJob(
                **stages["experts"],
                name=f"expert {path.stem[:8]}",
                classes=tuple(classes),
                plan=plan,
                index=index,
                path=path,
                save_every=save_every,
            )
            jobs.append(job)
        return jobs

    recorded = [trajectories(own, block) for block in blocks]
    teachers = trajectories(teacher, every)
    subtasks = tuple(
        SubtaskJob(
            **stages["subtasks"],
            name=f"subtask {number:03d}",
            classes=tuple(block),
            number=number,
            experts=tuple(job.path for job in recorded[number]),
            weights=weights,
            save_every=save_every,
        )
        for number, block in enumerate(blocks)
    )
    labels = tuple(
        LabelsJob(
            **stages["labels"],
            name=f"labels {job.number:03d}",
            classes=every,
            subtask=job,
            teachers=tuple(teacher.path for teacher in teachers),
        )
        for job in (subtasks if teacher else ())
    )
    first = (*(job for jobs in recorded for job in jobs), *teachers)
    return Plan(recipe, task, content, images, first, subtasks, labels)


def _lots(task: Task) -> list[range]:
    """The images that are decoded into one file each, where they are more than memory holds."""
    if task.fingerprint == UNSEEN or task.train.bytes <= MEMORY:
        return []
    count = len(task.train)
    return [range(at, min(at + LOT, count)) for at in range(0, count, LOT)]


def _draft(recipe: Recipe, task: Task, blocks: Sequence[list[int]]) -> Content:
    """What the artifact's manifest will say, digests aside: finds what it could not say."""
    image, labels, items_of = image_of(task), labels_of(recipe), recipe.items(task.train.counts())
    rows = None if labels.kind == "hard" else len(task.classes)
    entries = []
    for path, block in zip(part_paths(len(blocks)), sorted(blocks), strict=True):
        items = tuple(items_of[label] for label in block)
        size = {"items": sum(items), "classes": len(block)}
        shapes = layout(recipe.source, image, **size, labels=rows)
        entries.append(
            PartEntry(
                path=path,
                size=stored_bytes(shapes, recipe.quantization),
                sha256="0" * 64,
                classes=tuple(block),
                items_per_class=items,
                quantization=recipe.quantization,
            )
        )
    draft = {
        "format": format_of(labels, recipe.source),
        "image": image,
        "preprocessing": task.rule,
        "classes": task.classes,
        "source": recipe.source,
        "parts": tuple(entries),
        "labels": labels,
        "sampling": {"draws_per_class": recipe.draws_per_class},
    }
    return Content.parse(draft, where=f"the recipe {recipe.name}")


def labels_of(recipe: Recipe) -> AnyLabels:
    """What the manifest says of the labels that the recipe asks for."""
    if recipe.learn_labels:
        return TargetLabels()
    if recipe.labels is None:
        return HardLabels()
    network, epoch = recipe.labels.teacher.network, recipe.labels.epoch
    teacher = f"{network.name} of width {network.width} after epoch {epoch}"
    return SoftLabels(teacher=teacher, temperature=recipe.labels.temperature)


def _check(recipe: Recipe, task: Task, blocks: Sequence[Sequence[int]]) -> None:
    """Refuse what would fail after hours, or mean nothing."""
    for place, record in _records("", recipe):
        _check_names(place, record, task)
    if recipe.objective:
        if recipe.objective.expert_plan and min(map(len, blocks)) < 2:
            require_classes(1, "no experts to train (its cross-entropy is constant)")
        counts = recipe.items(task.train.counts())
        for block in blocks:
            items = [counts[label] for label in block]
            recipe.objective.require_fit(
                classes=len(block), items=items, step_sizes=recipe.step_sizes
            )
    if recipe.labels and recipe.labels.epoch > recipe.labels.teacher.epochs:
        raise RecipeError(
            f"labels.epoch is {recipe.labels.epoch}, but the teacher has only "
            f"labels.teacher.epochs = {recipe.labels.teacher.epochs}"
        )
    if recipe.warm_start.perceptual and not (recipe.objective and recipe.objective.expert_plan):
        raise RecipeError(
            f"warm_start.perceptual is {recipe.warm_start.perceptual:g}, but no objective "
            "has experts to look through: leave it out, or choose one"
        )
    if recipe.learn_labels and len(blocks) > 1:
        raise RecipeError(
            "learn_labels: labels are over all classes, and a subtask has some of them: leave out "
            "[subtasks], or learn_labels"
        )
    rows = 1 if recipe.learn_labels else None
    one = layout(recipe.source, image_of(task), items=1, classes=1, labels=rows)
    known = {purpose(name) for name in one}
    for kind in sorted(set(recipe.optimizers) - known):
        raise RecipeError(
            f"optimizers.{kind}: a {recipe.source.kind} source like this has none; "
            f"it has {', '.join(sorted(known))}"
        )
    STARTS[recipe.source.kind].require_fit(recipe, task)


def _check_names(place: str, record: Frozen, task: Task) -> None:
    try:
        if (named := getattr(record, "augment", None)) is not None:
            augment.augmentation(named)
        if isinstance(record, NetworkSpec):
            with torch.device("meta"):
                record.build(task, 0)
    except RecipeError as failure:
        raise RecipeError(f"{place}.augment: {failure}") from None
    except (UnknownNameError, TrainingError, ValueError) as failure:
        raise RecipeError(f"{place}: {failure}") from None


def _records(place: str, value: Any) -> Iterator[tuple[str, Frozen]]:
    """All records in `value` with their places, such as `objective.children.0.experts`."""
    inside: Mapping[Any, Any] = {}
    if isinstance(value, Frozen):
        yield place, value
        inside = dict(value)
    elif isinstance(value, tuple):
        inside = dict(enumerate(value))
    for key, entry in inside.items():
        yield from _records(f"{place}.{key}".lstrip("."), entry)
