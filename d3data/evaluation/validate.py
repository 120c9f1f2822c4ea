"""Checks before any network is trained: the set, the real images, labels, seeds.

What does not hold is a DataError, unless a function says otherwise.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from d3data.artifact.artifact import Artifact
from d3data.data.dataset import DistilledDataset
from d3data.errors import ArtifactError, DataError, FormatError, nearest
from d3data.evaluation.protocol_epochs import has_learned_labels, has_priors, like
from d3data.evaluation.record import CHUNK, Labels, TrainingData
from d3data.evaluation.report import SplitName
from d3data.images.spec import Whitening
from d3data.images.tasks import PRESETS, Split, Task, TaskSpec
from d3data.utils.checks import whole
from d3data.utils.text import some

CPU = torch.device("cpu")
RECIPE = "recipe.toml"
MOST_SEED = (1 << 64) - 1
MOST_OFF = 0.02  # by which the sum of probabilities may miss 1


def origin(
    data: TrainingData, place: str | Path | None, reading: Mapping[str, Any] | None = None
) -> Task:
    """The real images that a distilled set was made from; `reading` says how they are read."""
    if not isinstance(data, DistilledDataset):
        raise DataError(
            f"a {type(data).__name__} does not say which real images it was made from: "
            "give them, evaluate(data, task)"
        )
    rule = data.artifact.manifest.content.preprocessing
    shape = {key: getattr(rule, key) for key in ("size", "channels", "fit", "white")}
    given = {key: value for key, value in (reading or {}).items() if value is not None}
    spec = _task_of(data.artifact).dump() | shape | given
    task = TaskSpec.parse(spec, where="the real images", error=DataError).load(place)
    if _has_recipe(data.artifact):
        return task
    if task.classes != tuple(data.classes) and {*task.classes} == {*data.classes}:
        task = task.subtask([task.classes.index(name) for name in data.classes])  # a merged set
    return task.renormalized(*data.normalization)  # others normalize otherwise


def _has_recipe(artifact: Artifact) -> bool:
    return any(entry.path == RECIPE for entry in artifact.manifest.files)


def _task_of(artifact: Artifact) -> TaskSpec:
    """The task of the recipe in an artifact; without a recipe, the one that it names."""
    if not _has_recipe(artifact):
        name = artifact.manifest.about.provenance.task
        return TaskSpec.parse({"name": name}, where="the set's task", error=FormatError)
    try:
        table = tomllib.loads(artifact.file(RECIPE).decode())["task"]
    except (ValueError, KeyError) as failure:
        raise FormatError(f"{RECIPE} of the set is broken ({failure!r})") from None
    spec = TaskSpec.parse(table, where=f"{RECIPE} of the set: task", error=FormatError)
    return spec.model_copy(update={"data": None})  # a path of the machine that made the set


def labeled(data: TrainingData, labels: Iterable[Labels] | None) -> list[TrainingData]:
    """The set with each kind of label that is asked for; as it is, where `labels` is None."""
    if labels is None:
        return [data]
    if not isinstance(data, DistilledDataset):
        raise DataError(
            f"the labels of a {type(data).__name__} cannot be changed: leave labels out"
        )
    kinds = list(labels)
    if not kinds or len(set(kinds)) < len(kinds):
        raise DataError(f"labels {kinds}: name hard, soft or both, each once")
    for kind in kinds:
        if kind not in get_args(Labels):
            raise DataError(f"labels {kind!r}: {nearest(str(kind), get_args(Labels))}")
        if kind == "soft" and data.drawer.soft_labels() is None:
            raise DataError(
                f"{data.artifact.manifest.about.name} has hard labels only: ask for hard, or "
                "leave labels out"
            )
    return [like(data, soft_labels=kind == "soft") for kind in kinds]


def scored(sets: list[TrainingData]) -> list[TrainingData]:
    """The set as scores need it: with soft labels first, if they are asked for, then hard ones."""
    first = max(sets, key=lambda one: kind(one) == "soft")
    if kind(first) == "hard":
        return [first]
    if not isinstance(first, DistilledDataset):
        raise DataError(
            f"scores need hard labels too, and a {type(first).__name__} has soft ones only: "
            "leave scores out"
        )
    return [first, like(first, soft_labels=False)]


def require_choices(task: Task, rates: Sequence[float], baselines: Sequence[str]) -> None:
    """There are validation images, if something is chosen on them."""
    chosen = ["compressed"] * ("compressed" in baselines) + ["a learning rate"] * (len(rates) > 1)
    _require(
        not chosen or len(task.validation) > 0,
        f"{task.name} has no validation images, on which {' and '.join(chosen)} would be chosen: "
        "add a validation split, or choose another protocol or other baselines",
    )


def own_rate(data: TrainingData) -> float:
    """The step size that a distilled set learned: the mean of those of its parts."""
    _require(
        isinstance(data, DistilledDataset),
        f"a {type(data).__name__} has no learning rate of its own: choose another protocol",
    )
    assert isinstance(data, DistilledDataset)
    sizes: list[Tensor] = [source.step_size for source in data.drawer.sources]
    _require(
        all(len(size) == 1 for size in sizes),
        "the set has step sizes for each step of a student, and networks are trained at one rate: "
        "choose another protocol",
    )
    rate = float(torch.cat(sizes).mean())
    _require(
        rate > 0, f"the set's step size is {rate:g}, no learning rate: choose another protocol"
    )
    return rate


def kind(data: TrainingData) -> Labels:
    """Whether its labels are classes or probabilities."""
    labels = data.batch(0, torch.zeros(1, dtype=torch.int64), device=CPU)[1]
    return "soft" if labels.is_floating_point() else "hard"


def identity(data: TrainingData) -> list[str | int | bool]:
    """JSON values that differ between any two sets."""
    if isinstance(data, DistilledDataset):
        return [data.fingerprint, data.seed, data.draws_per_class, data.soft_labels]
    digest = sha256()
    for rows in torch.arange(len(data)).split(CHUNK):
        for tensor in data.batch(0, rows, device=CPU):
            digest.update(tensor.detach().contiguous().numpy().data)
    return [type(data).__name__, len(data), digest.hexdigest()]


def tests(task: Task, name: SplitName) -> Split:
    """The images that networks are tested on."""
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
    """The seeds, which must all differ."""
    if not isinstance(seeds, Iterable):
        raise DataError(f"{name}={seeds!r}: a list is needed, such as {name}=range({seeds!r})")
    seeds = tuple(whole(one, "seed", most=MOST_SEED, error=DataError) for one in seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise DataError(f"{name} {list(seeds)}: give at least one, and none twice")
    return seeds


def require_fit(data: TrainingData, task: Task, place: str | Path | None = None) -> None:
    """The set and the real images have the same classes, shape and normalization.

    All images of an epoch are checked where they are stored, the first 256 where they are drawn.
    """
    if isinstance(data, DistilledDataset):
        _require_same_content(data, task, f"{task.name} ({place})" if place else task.name)
    _require(len(data) > 0, "the set has no images to train on")
    count = min(CHUNK, len(data)) if has_priors(data) else len(data)
    for rows in torch.arange(count).split(CHUNK):
        images, labels = data.batch(0, rows, device=CPU)
        _require_images(images, len(rows), task)
        _require_labels(labels, len(rows), task, learned=has_learned_labels(data))


def require_known_fit(data: TrainingData, name: str) -> None:
    """The set has the classes and images of a preset, which is known before it is downloaded."""
    preset = PRESETS.get(name)
    if preset is None or not isinstance(data, DistilledDataset):
        return
    image, words = data.artifact.manifest.content.image, "{0} classes of {1}x{2}x{2} images"
    own = words.format(len(data.classes), image.channels, image.size)
    others = words.format(preset.classes, preset.channels, preset.native)
    if own != others:
        raise DataError(
            f"the set has {own} and {name} has {others}: evaluate it on the task that it was made "
            "from"
        )


def _require_same_content(data: DistilledDataset, task: Task, real: str) -> None:
    """Classes, preprocessing, mean and std are the task's; messages call its images `real`."""
    differ = sorted({*data.classes} ^ {*task.classes})
    _require(
        tuple(data.classes) == task.classes,
        f"the set has {len(data.classes)} classes and {real} has {len(task.classes)}; they differ "
        f"in {some(differ) if differ else 'their order'}: evaluate the set on the images that it "
        "was made from; if it was converted, convert it again with --data, so that it has these "
        "names",
    )
    _require(
        data.image.whitening == task.whitening,
        f"the set's values are {_whitened(data.image.whitening)}, and those of {real} are "
        f"{_whitened(task.whitening)}, so networks trained on it cannot be tested there: evaluate "
        "it on the images that it was made from; a converted set is un-whitened by converting it "
        "again with --zca",
    )
    rule = data.artifact.manifest.content.preprocessing
    _require(
        rule == task.rule,
        f"the set's preprocessing rule is {rule}, and that of {real} is {task.rule}: load the "
        "task with the set's rule",
    )
    moments = torch.tensor([data.normalization, (task.mean, task.std)], dtype=torch.float64)
    _require(
        torch.allclose(moments[0], moments[1], rtol=0, atol=1e-4),
        f"the set is normalized with mean {data.normalization.mean} and std "
        f"{data.normalization.std}, and {real} with mean {task.mean} and std {task.std}: it was "
        "made from other images",
    )


def _whitened(how: Whitening | None) -> str:
    if how is None:
        return "not whitened"
    return f"whitened (ZCA, {how.regularization:g}, by images {how.images_sha256[:8]}...)"


def _require_images(images: Tensor, count: int, task: Task) -> None:
    shape = (count, task.channels, task.size, task.size)
    own, expected = ("x".join(map(str, one[1:])) for one in (images.shape, shape))
    _require(
        images.shape == shape,
        f"the set's images are {own} and those of {task.name} are {expected}: load the task with "
        "the set's channels and size",
    )
    is_float = images.dtype == torch.float32
    _require(is_float, f"the set's images are {images.dtype}: make them torch.float32")
    if not images.isfinite().all():
        raise ArtifactError("the set has values that are not finite: it cannot be trained on")


def _require_labels(labels: Tensor, count: int, task: Task, *, learned: bool) -> None:
    classes, soft = len(task.classes), labels.is_floating_point()
    _require(
        labels.shape == ((count, classes) if soft else (count,)),
        f"the set's labels have shape {tuple(labels.shape)} for {count} images of {classes} "
        f"classes: class numbers (B,) or probabilities (B, {classes}) are needed",
    )
    _require(
        labels.dtype == (torch.float32 if soft else torch.int64),
        f"the set's labels are {labels.dtype}: make class numbers torch.int64, probabilities "
        "torch.float32",
    )
    low, high = float(labels.min()), float(labels.max())
    if learned:
        _require(bool(labels.isfinite().all()), "the set has labels that are not finite")
    elif soft:
        _require(
            low >= 0 and bool(((labels.sum(1) - 1).abs() <= MOST_OFF).all()),
            "the set has soft labels that are not probabilities: none may be negative, and those "
            "of an image must add up to 1",
        )
    else:
        _require(
            0 <= low <= high < classes,
            f"the set has labels from {low:.0f} to {high:.0f}, and {task.name} has the classes 0 "
            f"to {classes - 1}",
        )


def _require(fine: bool, message: str) -> None:
    if not fine:
        raise DataError(message)
