"""The class that every method extends, and the sampling that several of them need."""

import abc
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import ExpertPlan
from d3data.errors import RecipeError
from d3data.nets.network import features
from d3data.sources.base import Source
from d3data.utils.device import to_device
from d3data.utils.schema import Frozen

STUDENT = ("labels", "step_size")
FEW = 32  # images that a CPU looks at together, or those of a class where it has more
NO_RANDOM: dict[str, Any] = {"preserve_rng_state": False}  # noise is drawn before


class Objective(Frozen, abc.ABC):
    """A method as a stream of losses; its fields are its configuration in a recipe.

    Between two losses that `losses` yields, the optimizers have taken one step on the source.
    Three rules make a stream restartable at any step, exactly: random numbers come from
    `context.rng(stream, step)`; what must survive a yield is made by `context.keep` and updated
    in place; nothing comes after the yield.

    Attributes:
        kind: its name in recipes, or `package.module:Class` of an objective of one's own.
        reference: its paper, as `arXiv:NNNN.NNNNN`; "" where there is none.
        student: which of `labels` and `step_size` its losses have gradients for.
        regresses: whether labels are predicted by squared errors, so that they may be any numbers.
    """

    kind: str

    reference: ClassVar[str] = ""
    student: ClassVar[frozenset[str]] = frozenset()
    regresses: ClassVar[bool] = False

    @abc.abstractmethod
    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield one loss (scalar) for each step of `context.step_range`."""

    def finish(self, source: Source, context: ObjectiveContext) -> None:
        """Do what is left to be done of `source` after the last step; twice is as good as once."""

    @property
    def expert_plan(self) -> ExpertPlan | None:
        """The trajectories that it asks for: its field `experts`, if it has one."""
        plan: ExpertPlan | None = getattr(self, "experts", None)
        return plan

    def moves(self, purpose: str) -> bool:
        """Whether its losses have gradients for tensors that are for this `purpose`."""
        return purpose in self.student if purpose in STUDENT else True

    def require_fit(self, *, classes: int, items: Sequence[int], step_sizes: int) -> None:
        """Raise RecipeError where it cannot distill a subtask of so many classes.

        `items` are those of each class.
        """

    @property
    def solves(self) -> bool:
        """Whether it sets learned labels itself, and so asks for a source that has some."""
        return False

    @property
    def leaves(self) -> tuple["Objective", ...]:
        """The methods that it combines; itself, if it is a method."""
        return (self,)

    @property
    def period(self) -> int:
        """How many steps it takes until every method in it has had its turn."""
        return 1


class OwnObjective(Objective):
    """An objective of one's own, `package.module:Class`: its fields, until it is needed.

    It is found as Python finds modules, never in the folder of a recipe: a stranger's recipe runs
    no stranger's file.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")

    @property
    def imported(self) -> Objective:
        """The objective itself.

        Raises:
            RecipeError: there is no such module or class, it is not an `Objective`, or it does not
                take these fields.
        """
        module, _, name = self.kind.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except Exception as failure:  # a module of somebody's own raises of every kind
            raise RecipeError(
                f"cannot import the objective {self.kind!r}, {type(failure).__name__}: {failure}; "
                "install its package, or put the folder of the module on PYTHONPATH"
            ) from failure
        if not (isinstance(found, type) and issubclass(found, Objective)):
            raise RecipeError(
                f"{self.kind!r} is not an objective: make it a subclass of "
                "d3data.distill.objectives.Objective"
            )
        return found.parse(self.dump(), where=f"the objective {self.kind}")

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Those of the objective itself."""
        return self.imported.losses(source, context)

    def finish(self, source: Source, context: ObjectiveContext) -> None:
        """As the objective itself does."""
        self.imported.finish(source, context)

    @property
    def expert_plan(self) -> ExpertPlan | None:
        """That of the objective itself."""
        return self.imported.expert_plan

    @property
    def leaves(self) -> tuple[Objective, ...]:
        """Those of the objective itself."""
        return self.imported.leaves

    @property
    def period(self) -> int:
        """That of the objective itself."""
        return self.imported.period

    def require_fit(self, *, classes: int, items: Sequence[int], step_sizes: int) -> None:
        """As the objective itself does."""
        self.imported.require_fit(classes=classes, items=items, step_sizes=step_sizes)

    def moves(self, purpose: str) -> bool:
        """As the objective itself says."""
        return self.imported.moves(purpose)


def require_classes(classes: int, fault: str) -> None:
    """Raise RecipeError where a subtask has one class, of which `fault` is true."""
    if classes < 2:
        raise RecipeError(
            f"a subtask of one class has {fault}: lower subtasks.count, or choose another "
            "objective"
        )


def require_step_sizes(step_sizes: int, steps: int) -> None:
    """Raise RecipeError unless there is one step size for all steps of a student, or for each."""
    if step_sizes not in (1, steps):
        raise RecipeError(
            f"step_sizes is {step_sizes}, and the student takes {steps} steps: give one for all, "
            "step_sizes = 1, or one for each"
        )


def sample_items(source: Source, count: int, rng: torch.Generator) -> Tensor:
    """(K, count) items, `count` of each class: its items in random order, as evenly as it goes."""
    sizes = [len(items) for items in source.members]
    orders = [
        torch.randperm(size, generator=rng)[:left]
        for size in sizes
        for left in range(count, 0, -size)
    ]
    starts = torch.tensor(sizes).cumsum(0) - torch.tensor(sizes)
    return torch.cat([*source.members])[torch.cat(orders).view(-1, count) + starts[:, None]]


def sample_real(context: ObjectiveContext, count: int, rng: torch.Generator) -> Tensor:
    """(K, count, C, H, W): `count` random training images of each class."""
    chosen = choose_real(context, count, rng)
    images: Tensor = context.task.train.read(chosen.flatten()).unflatten(0, chosen.shape)
    return images


def choose_real(context: ObjectiveContext, count: int, rng: torch.Generator) -> Tensor:
    """(K, count) indices of random training images, `count` of each class."""
    labels = range(len(context.task.classes))
    return torch.stack([context.task.train.choose(count, of=k, rng=rng) for k in labels])


def real_features(
    context: ObjectiveContext,
    network: nn.Module,
    chosen: Tensor,
    change: Callable[[Tensor], Tensor] = lambda images: images,
) -> Tensor:
    """Features (K, M, D) of the training images (K, M) that were chosen, without a graph."""
    most = context.compute.at_once or _together(chosen, context.device)
    with torch.no_grad():
        lots = [
            context.compute(features, network, change(context.task.train.read(lot)))
            for lot in chosen.flatten().split(most)
        ]
    return _by_class(lots, chosen)


def synthetic_features(
    context: ObjectiveContext,
    network: nn.Module,
    source: Source,
    items: Tensor,
    noise: Tensor | None,
    change: Callable[[Tensor], Tensor] = lambda images: images,
) -> Tensor:
    """Features (K, N, D) of draws of items (K, N) with their noise (K N, noise_values).

    Where only so many images may be held `at_once`, the graphs of all but one lot are let go and
    computed again when gradients pass: Chen et al. 2016, "Training Deep Nets with Sublinear
    Memory Cost", arXiv 1604.06174.
    """

    def look(some: Tensor, noise: Tensor | None) -> Tensor:
        seen: Tensor = context.compute(features, network, change(source(some, noise)))
        return seen

    flat = to_device(items.flatten(), context.device)
    most = context.compute.at_once
    lots = flat.split(most or _together(items, context.device))
    noises = [None] * len(lots) if noise is None else noise.split(len(lots[0]))
    pairs = zip(lots, noises, strict=True)
    if most is None or len(lots) == 1:
        return _by_class([look(*pair) for pair in pairs], items)
    kept = [checkpoint(look, *pair, use_reentrant=False, **NO_RANDOM) for pair in pairs]
    return _by_class(kept, items)


def _together(chosen: Tensor, device: torch.device) -> int:
    """How many of images (K, M) are looked at together where nothing bounds them.

    On a CPU whole classes, of which a few images stay in its cache; all on an accelerator.
    """
    if device.type != "cpu":
        return chosen.numel()
    each = chosen.shape[1]
    return each * max(1, FEW // each)


def _by_class(lots: Sequence[Tensor], like: Tensor) -> Tensor:
    """Lots (B, D) of all images -> (K, M, D), as many as there are in `like` (K, M)."""
    seen = lots[0] if len(lots) == 1 else torch.cat([*lots])
    return seen.view(*like.shape, -1)
