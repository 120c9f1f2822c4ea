"""What a recipe asks for that images, networks or sources cannot give, found before any job."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from d3data.distill.experts import NetworkSpec
from d3data.distill.jobs import image_of
from d3data.distill.recipe import Recipe
from d3data.distill.starts import STARTS
from d3data.errors import DataError, RecipeError, TrainingError, UnknownNameError
from d3data.images import augment
from d3data.images.tasks import Task
from d3data.sources.base import purpose
from d3data.sources.registry import layout
from d3data.utils.schema import Frozen


def check(recipe: Recipe, task: Task, blocks: Sequence[Sequence[int]]) -> None:
    """Refuse what would fail after hours, or mean nothing.

    Args:
        recipe: what to make.
        task: of all classes.
        blocks: the class numbers of each subtask.

    Raises:
        RecipeError: the recipe asks for what cannot be.
        DataError: a class has fewer images than it needs.
    """
    for place, record in _records("", recipe):
        _check_names(place, record, task)
    if recipe.objective and recipe.objective.expert_plan and min(map(len, blocks)) < 2:
        raise RecipeError(
            f"the recipe {recipe.name} makes a subtask of one class, which has no trajectory to "
            "match (its cross-entropy is constant): lower subtasks.count, or choose an objective "
            "without experts"
        )
    if recipe.labels and recipe.labels.epoch > recipe.labels.teacher.epochs:
        raise RecipeError(
            f"labels.epoch is {recipe.labels.epoch}, but the teacher has only "
            f"labels.teacher.epochs = {recipe.labels.teacher.epochs}"
        )
    _check_optimizers(recipe, task)
    _check_counts(recipe, task)


def _check_names(place: str, record: Frozen, task: Task) -> None:
    """Resolve the augmentation that a record of the recipe names, and build its network."""
    named = getattr(record, "augment", None)
    try:
        if named is not None:
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


def _check_optimizers(recipe: Recipe, task: Task) -> None:
    there = {purpose(name) for name in layout(recipe.source, image_of(task), items=1, classes=1)}
    for kind in sorted(set(recipe.optimizers) - there):
        raise RecipeError(
            f"optimizers.{kind}: a {recipe.source.kind} source like this has none; "
            f"it has {', '.join(sorted(there))}"
        )


def _check_counts(recipe: Recipe, task: Task) -> None:
    needs_images = STARTS[recipe.source.kind].needs_images(recipe)
    for name, count in zip(task.classes, task.train.counts(), strict=True):
        if needs_images and count < recipe.items_per_class:
            raise DataError(
                f"class {name!r} has {count} training images for {recipe.items_per_class} items: "
                "lower items_per_class, or add images"
            )
