"""What must hold before any network is trained."""

import tomllib
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from d3data.artifact.artifact import Artifact
from d3data.data.dataset import DistilledDataset
from d3data.errors import ArtifactError, DataError, FormatError, nearest
from d3data.evaluation.protocol_epochs import has_priors, like
from d3data.evaluation.record import Labels
from d3data.evaluation.report import SplitName
from d3data.evaluation.setup import CHUNK, Draws
from d3data.images.tasks import PRESETS, Split, Task, TaskSpec
from d3data.utils.checks import whole

RECIPE = "recipe.toml"
MOST_SEED = (1 << 64) - 1
MOST_OFF = 0.02  # by which probabilities may miss 1


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
    task = _named(draws.artifact).model_copy(update=seen).load(data)
    if RECIPE in {entry.path for entry in draws.artifact.manifest.files}:
        return task
    return task.renormalized(*draws.normalization)  # whoever distilled it normalised otherwise


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


def labeled(draws: Draws, labels: Iterable[Labels] | None) -> list[Draws]:
    """The set with each kind of label that is asked for; as it is, where none is.

    Raises:
        DataError: the set does not have them.
    """
    if labels is None:
        return [draws]
    if not isinstance(draws, DistilledDataset):
        raise DataError(f"a {type(draws).__name__} has the labels that it has: leave labels out")
    found, kinds = list[Draws](), list(labels)
    if not kinds or len(set(kinds)) < len(kinds):
        raise DataError(f"labels {kinds}: name hard, soft or both, each once")
    for kind in kinds:
        if kind not in get_args(Labels):
            raise DataError(f"labels {kind!r}: {nearest(str(kind), get_args(Labels))}")
        if kind == "soft" and draws.drawer.soft_labels() is None:
            raise DataError(
                f"{draws.artifact.manifest.about.name} has hard labels alone: ask for these, or "
                "leave labels out"
            )
        found.append(like(draws, soft_labels=kind == "soft"))
    return found


def scored(sets: list[Draws]) -> list[Draws]:
    """The set as scores need it: with soft labels first, where they are asked for, and hard ones.

    Raises:
        DataError: it has soft labels alone.
    """
    first = max(sets, key=lambda one: kind(one) == "soft")
    if kind(first) == "hard":
        return [first]
    if not isinstance(first, DistilledDataset):
        raise DataError(
            f"scores need hard labels too, and a {type(first).__name__} has soft ones alone: "
            "leave scores out"
        )
    return [first, like(first, soft_labels=False)]


def require_choices(task: Task, rates: Sequence[float], rivals: Sequence[str]) -> None:
    """What is chosen on validation images needs some.

    Raises:
        DataError: there are none.
    """
    chosen = [name for name in rivals if name == "compressed"]
    chosen += ["a learning rate"] * (len(rates) > 1)
    if chosen and not len(task.validation):
        raise DataError(
            f"{task.name} has no validation images, on which {' and '.join(chosen)} would be "
            "chosen: hold some of train out, or leave that out"
        )


def kind(draws: Draws) -> Labels:
    """Whether its labels are classes or probabilities."""
    labels = draws.batch(0, torch.zeros(1, dtype=torch.int64), device=torch.device("cpu"))[1]
    return "soft" if labels.is_floating_point() else "hard"


def identity(draws: Draws) -> list[str | int | bool]:
    """What tells a set from every other one."""
    if isinstance(draws, DistilledDataset):
        return [draws.fingerprint, draws.seed, draws.draws_per_class, draws.soft_labels]
    digest = sha256()
    for some in torch.arange(len(draws)).split(CHUNK):
        for tensor in draws.batch(0, some, device=torch.device("cpu")):
            digest.update(tensor.detach().contiguous().numpy().data)
    return [type(draws).__name__, len(draws), digest.hexdigest()]


def tests(task: Task, name: SplitName) -> Split:
    """The images that networks are tested on.

    Raises:
        DataError: the task has none, or networks are not tested on such images.
    """
    if name not in get_args(SplitName):
        raise DataError(f"split {name!r}: {nearest(str(name), get_args(SplitName))}")
    split = task.test if name == "test" else task.validation
    if split is None or len(split) == 0:
        other = "validation" if name == "test" else "test"
        raise DataError(
            f"{task.name} has no {name} images: add a {name} split, or take the {other} images: "
            f"--split {other} (split={other!r})"
        )
    return split


def distinct(seeds: Iterable[int], name: str = "seeds") -> tuple[int, ...]:
    """The seeds, if there are any and all differ.

    Raises:
        DataError: there are none, one comes twice, or is no whole number from 0 on.
    """
    if not isinstance(seeds, Iterable):
        raise DataError(f"{name}={seeds!r}: a list is needed, such as {name}=range({seeds!r})")
    seeds = tuple(whole(one, "seed", most=MOST_SEED, error=DataError) for one in seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise DataError(f"{name} {list(seeds)}: each network needs one of its own")
    return seeds


def require_fit(draws: Draws, task: Task) -> None:
    """The set and the real images have the same classes, shape and normalisation.

    All of an epoch is looked at where images are stored, and its beginning where they are drawn.

    Raises:
        DataError: they have not.
        ArtifactError: the set makes values that are not finite.
    """
    if isinstance(draws, DistilledDataset):
        _require_same_page(draws, task)
    if len(draws) == 0:
        raise DataError("the set has no images to train on")
    count = CHUNK if has_priors(draws) else len(draws)
    for some in torch.arange(min(count, len(draws))).split(CHUNK):
        _require_images(*draws.batch(0, some, device=torch.device("cpu")), len(some), task)


def require_known_fit(draws: Draws, name: str) -> None:
    """As far as it is known of a task before its images are fetched.

    Raises:
        DataError: it has other classes or other images than the set.
    """
    preset = PRESETS.get(name)
    if preset is None or not isinstance(draws, DistilledDataset):
        return
    image = draws.artifact.manifest.content.image
    mine = len(draws.classes), image.channels, image.size
    others = preset.classes, preset.channels, preset.native
    if mine != others:
        shapes = ["{0} classes of {1}x{2}x{2} images".format(*one) for one in (mine, others)]
        raise DataError(
            f"the set has {shapes[0]} and {name} has {shapes[1]}: evaluate it on the task that it "
            "was made from"
        )


def _require_images(images: Tensor, labels: Tensor, count: int, task: Task) -> None:
    shape = (count, task.channels, task.size, task.size)
    if images.shape != shape:
        raise DataError(
            f"the set's images are {_spell(images)} and those of {task.name} are "
            f"{_spell(torch.empty(shape))}: load the task with the set's channels and size"
        )
    if images.dtype != torch.float32:
        raise DataError(f"the set's images are {images.dtype}: make them torch.float32")
    _require_labels(labels, count, task)
    if not images.isfinite().all():
        raise ArtifactError("the set makes values that are not finite: it cannot be trained on")


def _require_same_page(data: DistilledDataset, task: Task) -> None:
    if tuple(data.classes) != task.classes:
        differ = sorted({*data.classes} ^ {*task.classes}) or "their order"
        raise DataError(
            f"the set has {len(data.classes)} classes and {task.name} has {len(task.classes)}; "
            f"they differ in {differ}: evaluate it on the task that it was made from; "
            "if it was converted, convert it again with --data, so that it has these names"
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
    if labels.dtype != (torch.float32 if soft else torch.int64):
        raise DataError(
            f"the set's labels are {labels.dtype}: make class numbers torch.int64, probabilities "
            "torch.float32"
        )
    if soft and not bool(((labels >= 0).all(1) & ((labels.sum(1) - 1).abs() <= MOST_OFF)).all()):
        raise DataError(
            "the set has labels that are no probabilities: none may be negative, and those of an "
            "image must have the sum 1"
        )
    if not soft and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise DataError(
            f"the set has labels from {int(labels.min())} to {int(labels.max())}, "
            f"and {task.name} has the classes 0 to {classes - 1}"
        )


def _spell(images: Tensor) -> str:
    return "x".join(map(str, images.shape[1:]))
