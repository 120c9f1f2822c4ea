"""What a run will do, known and checked before any of it is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d3data.artifact.manifest import Content, HardLabels, PartEntry, SoftLabels, part_paths
from d3data.artifact.quantize import stored_bytes
from d3data.distill.experts import ExpertPlan
from d3data.distill.jobs import ExpertJob, Job, LabelsJob, SubtaskJob, image_of
from d3data.distill.recipe import Recipe
from d3data.distill.resources import Resources
from d3data.distill.starts import STARTS
from d3data.distill.validate import check
from d3data.images.tasks import UNSEEN, Task
from d3data.sources.registry import layout


@dataclass(frozen=True)
class Plan:
    """The jobs of a run and what they will make; `content` has no digests yet."""

    recipe: Recipe
    task: Task
    content: Content
    experts: tuple[ExpertJob, ...]
    subtasks: tuple[SubtaskJob, ...]
    labels: tuple[LabelsJob, ...]

    @property
    def imagined(self) -> bool:
        """Whether black images stand for real ones that are not here."""
        return self.task.fingerprint == UNSEEN

    @property
    def stages(self) -> Mapping[str, Sequence[Job]]:
        """What is done one after the other; the jobs of one stage in any order."""
        return {"experts": self.experts, "subtasks": self.subtasks, "labels": self.labels}

    @property
    def jobs(self) -> list[Job]:
        """All jobs."""
        return [job for jobs in self.stages.values() for job in jobs]

    def numbers(self) -> dict[str, Any]:
        """What the run takes and gives, as numbers.

        `published_values` are counted as papers count them, `tensor_bytes` are those on disk.
        """
        content, recipe = self.content, self.recipe
        start = STARTS[recipe.source.kind].steps(recipe)
        tasks = {own: self.task.subtask(own) for own in {job.classes for job in self.experts}}
        return {
            "classes": len(content.classes),
            "items": sum(part.items for part in content.parts),
            "experts": len(self.experts),
            "expert_steps": sum(job.plan.steps(tasks[job.classes]) for job in self.experts),
            "expert_bytes": sum(
                job.plan.trajectory_bytes(tasks[job.classes]) for job in self.experts
            ),
            "subtasks": len(self.subtasks),
            "steps": len(self.subtasks) * (start + recipe.steps + recipe.quantize.steps),
            "published_values": sum(map(content.published_values, content.parts)),
            "tensor_bytes": sum(part.size for part in content.parts),
            "jobs_done": sum(job.done for job in self.jobs),
            "jobs": len(self.jobs),
        }


def plan_run(
    recipe: Recipe,
    *,
    data: str | None,
    folder: Path,
    resources: Resources,
    threads: Mapping[str, int] | None = None,
    experts: Path | None = None,
    save_every: float = 30.0,
    imagine: bool = False,
) -> Plan:
    """The plan of a run in `folder`; looks at the data, writes nothing.

    Args:
        recipe: what to make.
        data: where the images are, unless the recipe or its task's name says it.
        folder: the run's.
        resources: how many jobs run at a time, and on what.
        threads: the threads of each stage's jobs, if an earlier plan chose them.
        experts: the folder of recorded trajectories, the run's own unless given.
        save_every: seconds between checkpoints.
        imagine: whether black images will do, where those of a known data set are not here.

    Raises:
        DataError: the images cannot be used, or a class has fewer of them than it needs.
        RecipeError: the recipe asks for what cannot be made of these images.
    """
    task = recipe.task.load(data, imagine=imagine)
    blocks = [sorted(block) for block in recipe.subtasks.split(len(task.classes))]
    content = _draft(recipe, task, blocks)
    check(recipe, task, blocks)
    objective, teacher = recipe.objective, recipe.labels.teacher if recipe.labels else None
    wanted = [(objective.expert_plan, block) for block in blocks] if objective else []
    groups = [(plan, block) for plan, block in wanted if plan is not None]
    counts = {"subtasks": len(blocks), "labels": len(blocks)}
    counts["experts"] = sum(plan.count for plan, _ in groups) + (teacher.count if teacher else 0)
    fresh = {stage: resources.threads(count, task.rule.size) for stage, count in counts.items()}
    chosen = fresh | dict(threads or {})
    planner = _Planner(
        recipe,
        task,
        experts or folder / "experts",
        threads=chosen,
        common={
            "data": _found_from_anywhere(data),
            "folder": folder.absolute(),
            "device": resources.device,
        },
    )
    recorded = [planner.trajectories(plan, block) for plan, block in groups]
    subtasks = [
        planner.subtask(number, block, recorded[number] if recorded else [], save_every)
        for number, block in enumerate(blocks)
    ]
    teachers = planner.trajectories(teacher, range(len(task.classes))) if teacher else []
    labels = [planner.labels(job, teachers) for job in subtasks] if teacher else []
    experts_first = (*(job for jobs in recorded for job in jobs), *teachers)
    return Plan(recipe, task, content, experts_first, tuple(subtasks), tuple(labels))


@dataclass(frozen=True)
class _Planner:
    """Makes jobs; `common` is what all have, `threads` what each stage's have."""

    recipe: Recipe
    task: Task
    experts: Path
    threads: Mapping[str, int]
    common: Mapping[str, Any]

    def trajectories(self, plan: ExpertPlan, classes: Sequence[int]) -> list[ExpertJob]:
        subtask = self.task.subtask(classes)
        return [self._expert(plan, classes, subtask, index) for index in range(plan.count)]

    def _expert(
        self, plan: ExpertPlan, classes: Sequence[int], subtask: Task, index: int
    ) -> ExpertJob:
        recipe = self.recipe
        name = plan.file_name(subtask, recipe.seed, index, recipe.compute)
        path = self.experts.absolute() / name
        return ExpertJob(
            **self.common,
            recipe=recipe,
            name=f"expert {path.stem[:8]}",
            threads=self.threads["experts"],
            classes=tuple(classes),
            plan=plan,
            index=index,
            path=path,
        )

    def subtask(
        self, number: int, classes: Sequence[int], experts: Sequence[ExpertJob], save_every: float
    ) -> SubtaskJob:
        return SubtaskJob(
            **self.common,
            recipe=self.recipe,
            name=f"subtask {number:03d}",
            threads=self.threads["subtasks"],
            classes=tuple(classes),
            number=number,
            experts=tuple(job.path for job in experts),
            save_every=save_every,
        )

    def labels(self, subtask: SubtaskJob, teachers: Sequence[ExpertJob]) -> LabelsJob:
        return LabelsJob(
            **self.common,
            recipe=self.recipe,
            name=f"labels {subtask.number:03d}",
            threads=self.threads["labels"],
            classes=tuple(range(len(self.task.classes))),
            subtask=subtask,
            teachers=tuple(job.path for job in teachers),
        )


def _found_from_anywhere(data: str | None) -> str | None:
    """The same place for workers that begin in another folder."""
    return str(Path(data).absolute()) if data and Path(data).exists() else data


def _draft(recipe: Recipe, task: Task, blocks: Sequence[list[int]]) -> Content:
    """What the artifact's manifest will say, digests aside: finds what it could not say."""
    each, image, labels = recipe.items_per_class, image_of(task), labels_of(recipe)
    soft = len(task.classes) if labels.kind == "soft" else None
    entries = []
    for path, block in zip(part_paths(len(blocks)), sorted(blocks), strict=True):
        shapes = layout(
            recipe.source, image, items=each * len(block), classes=len(block), labels=soft
        )
        entries.append(
            PartEntry(
                path=path,
                size=stored_bytes(shapes, recipe.quantization),
                sha256="0" * 64,
                classes=tuple(block),
                items_per_class=(each,) * len(block),
                quantization=recipe.quantization,
            )
        )
    draft = {
        "image": image,
        "preprocessing": task.rule,
        "classes": task.classes,
        "source": recipe.source,
        "parts": tuple(entries),
        "labels": labels,
        "sampling": {"draws_per_class": recipe.draws_per_class},
    }
    return Content.parse(draft, where=f"the recipe {recipe.name}")


def labels_of(recipe: Recipe) -> HardLabels | SoftLabels:
    """What the manifest says of the labels that the recipe asks for."""
    if recipe.labels is None:
        return HardLabels()
    plan = recipe.labels.teacher
    teacher = (
        f"{plan.network.name} of width {plan.network.width} after epoch {recipe.labels.epoch}"
    )
    return SoftLabels(teacher=teacher, temperature=recipe.labels.temperature)
