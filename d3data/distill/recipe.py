"""A recipe: everything that a run needs, as a TOML file, validated whole before anything runs."""

import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import tomli_w
import torch
from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator
from torch import nn

from d3data.artifact.manifest import Digest, Name, Version
from d3data.artifact.part import MOST_STEPS, Count
from d3data.artifact.quantize import Quantization
from d3data.distill.experts import ExpertPlan
from d3data.distill.objectives import AnyObjective
from d3data.errors import RecipeError, nearest
from d3data.images.tasks import TaskSpec
from d3data.nets.compute import Compute
from d3data.nets.training import cosine
from d3data.sources.registry import AnySource
from d3data.utils.schema import Extended, Frozen, unless_given

BALANCED = 10  # items of a class at most, where none are said


def _kind(items: object) -> str:
    return "list" if isinstance(items, list | tuple) else type(items).__name__


Decay = Annotated[float, Field(ge=0, lt=1)]
FirstImages = Literal["real", "noise", "herding", "k-center", "k-means"]
FirstLatents = Literal["random", "mean", "gaussian"]
Items = Annotated[
    Annotated[Count, Tag("int")]
    | Annotated[tuple[Count, ...], Field(min_length=1), Tag("list")]
    | Annotated[str, StringConstraints(pattern=r"^balanced(:[1-9][0-9]{0,5})?$"), Tag("str")],
    Discriminator(
        _kind,
        custom_error_type="items",
        custom_error_message='must be a number, a list of numbers, or "balanced:N"',
    ),
]


class Optimizer(Extended):
    """How one kind of tensor is stepped; a kind that has no optimizer stays as it is.

    The rate stays, falls to the fraction `floor` of itself along half a cosine, or is multiplied
    by `factor` after every `every` steps (schedule `step`).
    """

    kind: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(gt=0)
    momentum: float = Field(default=0.5, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "cosine", "step"] = "constant"
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    floor: float = Field(default=0.0, ge=0, lt=1)
    every: int | None = Field(default=None, ge=1)
    factor: float = Field(default=0.5, gt=0, le=1)

    later: ClassVar[frozenset[str]] = frozenset({"betas", "floor", "every", "factor"})

    @model_validator(mode="after")
    def _options_are_of_use(self) -> "Optimizer":
        needs = {"betas": ("kind", "adam"), "floor": ("schedule", "cosine")}
        needs |= dict.fromkeys(("every", "factor"), ("schedule", "step"))
        for name, (key, value) in needs.items():
            used = getattr(self, name) != type(self).model_fields[name].default
            if used and getattr(self, key) != value:
                raise ValueError(f'{name} is for {key} = "{value}": leave it out, or choose that')
        if self.schedule == "step" and self.every is None:
            raise ValueError('schedule = "step" needs every, the steps between two falls')
        return self

    def rate_at(self, step: int, steps: int) -> float:
        """The factor on the learning rate before `step` of `steps`."""
        if self.schedule == "cosine":
            return self.floor + (1 - self.floor) * cosine(step, steps)
        return 1.0 if self.every is None else self.factor ** (step // self.every)

    def build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        rate, decay = self.learning_rate, self.weight_decay
        if self.kind == "adam":
            fused = True if parameters[0].is_cuda else None  # one kernel in place of seven
            options: Any = {"lr": rate, "betas": self.betas, "weight_decay": decay}
            return torch.optim.Adam(parameters, fused=fused, **options)
        return torch.optim.SGD(parameters, lr=rate, momentum=self.momentum, weight_decay=decay)


class WarmStart(Extended):
    """How the autoencoder is fitted: error / C H W + `kl` x divergence / C H W, by Adam.

    `steps=0` starts from noise, as published: means and log-variances from N(0, 1), and a
    decoder as it was initialised. `perceptual` weighs the error of features through the
    objective's experts. `images` are what pixels begin as: random real images, N(0, 1), or real
    ones chosen by the features of the first expert, or by their pixels where there is none.
    `latents` are what those of a generator begin as: of random styles of their class, of the mean
    of such styles, or normal with the mean and deviation that the layer's inputs have. `weights`
    is the file of a generator, in whose place one is fitted else, unless the source has a seed;
    `weights_sha256` is what it must hold. A recipe that goes on from a finished set, and has no
    start of its own, says `after` which recipe that set comes; it then needs `--from`.
    """

    steps: int = Field(default=2000, ge=0)
    batch: int = Field(default=128, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    kl: float = Field(default=1.0, ge=0)
    width: int = Field(default=32, ge=1, le=1024)
    augment: str = "none"
    perceptual: float = Field(default=0.0, ge=0)
    images: FirstImages = "real"
    latents: FirstLatents = "random"
    weights: str | None = None
    weights_sha256: Digest | None = None
    after: Name | None = None

    later: ClassVar[frozenset[str]] = frozenset(
        {"perceptual", "images", "latents", "weights", "weights_sha256", "after"}
    )


class Subtasks(Frozen):
    """How classes are split into blocks: by a rule into `count`, or as lists of class numbers."""

    count: int = Field(default=1, ge=1)
    rule: Literal["contiguous", "round-robin"] = "contiguous"
    blocks: tuple[Annotated[tuple[int, ...], Field(min_length=1)], ...] | None = None

    def split(self, classes: int) -> list[list[int]]:
        """The class numbers of each block; sizes differ by one at most under a rule."""
        if self.blocks is not None:
            if sorted(c for block in self.blocks for c in block) != list(range(classes)):
                raise RecipeError(
                    f"subtasks.blocks must hold each class number from 0 to {classes - 1} once"
                )
            return [sorted(block) for block in self.blocks]
        if self.count > classes:
            raise RecipeError(f"subtasks.count is {self.count}, but there are {classes} classes")
        if self.rule == "round-robin":
            return [list(range(first, classes, self.count)) for first in range(self.count)]
        edges = [round(block * classes / self.count) for block in range(self.count + 1)]
        return [list(range(a, b)) for a, b in pairwise(edges)]


class SoftLabels(Frozen):
    """Labels from a teacher trained on the whole task, as D3 adds them after the union.

    One probability vector per item: the teacher's softmax at `temperature`, averaged over
    `draws` draws of the item; 0 draws label the image of its mean, as published.
    """

    teacher: Annotated[ExpertPlan, unless_given(count=1)] = ExpertPlan(count=1)
    epoch: int = Field(default=9, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    draws: int = Field(default=0, ge=0, le=1024)


class Quantize(Quantization):
    """How the set is stored, and `steps` more of distillation on what rounding leaves of it.

    The objective then sees the images of the rounded tensors and gradients pass straight through
    the rounding; optimizers begin anew. With `steps` here and none in the recipe, all of the
    distillation is like that.
    """

    steps: int = Field(default=0, ge=0)


class Recipe(Extended):
    """Everything that a run needs.

    `items_per_class` priors (or images) of every class are optimised on `objective` for `steps`
    steps, by the `optimizers`, one for each kind of tensor that is to move; `step_size` is the
    student's first, and `step_sizes` how many it learns, one for all of its steps or one for each.
    With `learn_labels` every item has a row of labels that begins as its centered class and is
    learned. Without an objective the source ships as its warm start left it. Items may be a list,
    a number for each class, or "balanced:N": N of every class, but not more than it has train
    images (10 unless said).
    """

    name: Name
    version: Version = "1.0.0"
    description: str = Field(default="", max_length=300)
    seed: int = Field(default=0, ge=0, lt=2**63)
    steps: int = Field(default=0, ge=0)
    items_per_class: Items
    draws_per_class: Count = 128
    step_size: float = Field(default=0.01, gt=0)
    step_sizes: int = Field(default=1, ge=1, le=MOST_STEPS)
    task: TaskSpec
    source: AnySource
    warm_start: WarmStart = WarmStart()
    objective: AnyObjective | None = None
    optimizers: dict[str, Optimizer] = {}
    subtasks: Subtasks = Subtasks()
    labels: SoftLabels | None = None
    learn_labels: bool = False
    quantize: Quantize = Quantize()
    compute: Compute = Compute()

    later: ClassVar[frozenset[str]] = frozenset({"step_sizes", "learn_labels"})

    @model_validator(mode="after")
    def _optimizers_fit(self) -> "Recipe":
        steps = self.steps + self.quantize.steps
        if bool(steps) != (self.objective is not None and bool(self.optimizers)):
            raise ValueError("steps, an objective and optimizers go together: give all or none")
        learned = ["labels"] if self.learn_labels else []
        known = [*sorted(self.source.purposes), *learned, "step_size"]
        for name in self.optimizers:
            if name not in known:
                raise ValueError(
                    f"optimizers.{name}: a {self.source.kind} source has no such tensors; "
                    f"{nearest(name, known)}"
                )
        leaves = self.objective.leaves if self.objective else ()
        if any(leaf.solves for leaf in leaves) and not self.learn_labels:
            raise ValueError(
                "objective.solve_labels: items have classes and no labels of their own, so there "
                "is nothing to solve for: set learn_labels = true, or leave it out"
            )
        regress = bool(leaves) and all(leaf.regresses for leaf in leaves)
        if self.learn_labels and (self.labels or not regress):
            raise ValueError(
                "learn_labels is for objectives that regress on labels, such as frepo and "
                "kip, without a [labels] table: leave it out, or choose one of these"
            )
        begins: dict[str, tuple[str, str | None]] = {"images": ("pixels", "real")}
        begins["latents"] = ("maps", "random")
        begins |= dict.fromkeys(("weights", "weights_sha256"), ("maps", None))
        for name, (purpose, usual) in begins.items():
            if getattr(self.warm_start, name) != usual and purpose not in self.source.purposes:
                raise ValueError(
                    f"warm_start.{name}: a {self.source.kind} source has no {purpose} that begin "
                    "so: leave it out"
                )
        return self

    def continued(self, start: str) -> "Recipe":
        """The same for a run that goes on from a set of this name: there is no warm start."""
        after = self.warm_start.after or start
        return self.model_copy(update={"warm_start": WarmStart(steps=0, after=after)})

    def items(self, images: Sequence[int], *, of: Sequence[int] | None = None) -> tuple[int, ...]:
        """How many items each class has that has so many train `images`.

        `of` are the numbers of these classes; RecipeError where a list is not of all of them.
        """
        ids, each = range(len(images)) if of is None else of, self.items_per_class
        if isinstance(each, int):
            return (each,) * len(images)
        if isinstance(each, str):
            most = int(each.partition(":")[2] or BALANCED)
            return tuple(min(most, count) for count in images)
        if (of is None and len(each) != len(images)) or max(ids) >= len(each):
            raise RecipeError(
                f"items_per_class lists {len(each)} classes, and there are {len(images)}: give "
                "a number for each, in their order, or one for all"
            )
        return tuple(each[label] for label in ids)

    @property
    def quantization(self) -> Quantization:
        """How the parts of the set are stored."""
        rows = {"labels"} if self.labels or self.learn_labels else set()
        return self.quantize.within(self.source.purposes | rows)

    @property
    def quantization_of_subtasks(self) -> Quantization:
        """The same before a teacher has given its labels, which come after all subtasks."""
        rows = {"labels"} if self.learn_labels else set()
        return self.quantize.within(self.source.purposes | rows)

    @property
    def identity(self) -> str:
        """The hash of the validated recipe, not of its text."""
        return hashlib.sha256(json.dumps(self.dump(), sort_keys=True).encode()).hexdigest()

    def to_toml(self) -> str:
        """The whole recipe, defaults included, as TOML."""
        return tomli_w.dumps(json.loads(self.model_dump_json(exclude_none=True)))
