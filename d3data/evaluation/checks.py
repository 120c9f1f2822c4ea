"""What must hold before any network is trained."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from d3data.artifact import Artifact
from d3data.dataset import DistilledDataset
from d3data.errors import ArtifactError, DataError, FormatError
from d3data.evaluation.report import SplitName
from d3data.evaluation.trials import CHUNK, Draws
from d3data.tasks import Split, Task, TaskSpec

RECIPE = "recipe.toml"


def origin(draws: Draws, data: str | Path | None) -> Task:
    """The real images that a distilled set was made from.

    Raises:
        DataError: `draws` do not say, or the images are not at `data`.
        UnknownNameError: no preset knows them and `data` is not given.
        ArtifactError: the set's recipe cannot be read.
    """
    if not isinstance(draws, DistilledDataset):
        raise DataError(
            f"a {type(draws).__name__} does not say which real images it was made from: "
            "give them, evaluate(data, task)"
        )
    rule = draws.artifact.manifest.content.preprocessing
    seen = {"size": rule.size, "channels": rule.channels, "fit": rule.fit}
    return _named(draws.artifact).model_copy(update=seen).load(data)


def _named(found: Artifact) -> TaskSpec:
    """The task of the recipe in an artifact; without a recipe, the one that it is named after.

    Where the images were is left out: it is a place on the machine of whoever made the set.
    """
    name = found.manifest.about.provenance.task
    if RECIPE not in {entry.path for entry in found.manifest.files}:
        return TaskSpec.parse({"name": name}, where="the set's task", error=FormatError)
    try:
        table = tomllib.loads(found.file(RECIPE).decode())["task"]
    except (ValueError, KeyError) as failure:
        raise FormatError(f"{RECIPE} of the set is broken ({failure!r})") from None
    spec = TaskSpec.parse(table, where=f"{RECIPE} of the set: task", error=FormatError)
    return spec.model_copy(update={"data": None})


def tests(task: Task, name: SplitName) -> Split:
    """The images that networks are tested on.

    Raises:
        DataError: the task has none.
    """
    split = task.test if name == "test" else task.validation
    if split is None or len(split) == 0:
        other = "validation" if name == "test" else "test"
        raise DataError(
            f"{task.name} has no {name} images: add a {name} split, or take the {other} images: "
            f"--split {other} (split={other!r})"
        )
    return split


def distinct(seeds: Iterable[int]) -> tuple[int, ...]:
    """The seeds, if there are any and all differ.

    Raises:
        DataError: there are none, or one comes twice.
    """
    seeds = tuple(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise DataError(f"seeds {list(seeds)}: each network needs one of its own")
    return seeds


def require_fit(draws: Draws, task: Task) -> None:
    """The set and the real images have the same classes, shape and normalisation.

    Raises:
        DataError: they have not.
        ArtifactError: the set makes values that are not finite.
    """
    if isinstance(draws, DistilledDataset):
        _require_same_page(draws, task)
    if len(draws) == 0:
        raise DataError("the set has no images to train on")
    indices = torch.arange(min(len(draws), CHUNK))
    images, labels = draws.batch(0, indices, device=torch.device("cpu"))
    shape = (len(indices), task.channels, task.size, task.size)
    if images.shape != shape:
        raise DataError(
            f"the set's images are {_spell(images)} and those of {task.name} are "
            f"{_spell(torch.empty(shape))}: load the task with the set's channels and size"
        )
    _require_labels(labels, len(indices), task)
    if not images.isfinite().all():
        raise ArtifactError("the set makes values that are not finite: it cannot be trained on")


def _require_same_page(data: DistilledDataset, task: Task) -> None:
    if tuple(data.classes) != task.classes:
        differ = sorted({*data.classes} ^ {*task.classes}) or "their order"
        raise DataError(
            f"the set has {len(data.classes)} classes and {task.name} has {len(task.classes)}; "
            f"they differ in {differ}: evaluate it on the task that it was made from"
        )
    rule = data.artifact.manifest.content.preprocessing
    if rule != task.rule:
        raise DataError(
            f"the set's images were made by the rule {rule}, and {task.name} is read by "
            f"{task.rule}: load the task with the set's rule"
        )
    moments = torch.tensor([data.normalization, (task.mean, task.std)], dtype=torch.float64)
    if not torch.allclose(moments[0], moments[1], rtol=0, atol=1e-4):
        raise DataError(
            f"the set's values have mean {data.normalization.mean} and std "
            f"{data.normalization.std}, those of {task.name} have {task.mean} and {task.std}: "
            "it was made from other images"
        )


def _require_labels(labels: Tensor, count: int, task: Task) -> None:
    classes = len(task.classes)
    soft = labels.is_floating_point()
    if labels.shape != ((count, classes) if soft else (count,)):
        raise DataError(
            f"the set's labels have shape {tuple(labels.shape)} for {count} images of {classes} "
            f"classes: class numbers (B,) or probabilities (B, {classes}) are needed"
        )
    if not soft and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise DataError(
            f"the set has labels from {int(labels.min())} to {int(labels.max())}, "
            f"and {task.name} has the classes 0 to {classes - 1}"
        )


def _spell(images: Tensor) -> str:
    return "x".join(map(str, images.shape[1:]))
