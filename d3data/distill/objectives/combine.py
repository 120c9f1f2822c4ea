"""Objectives made of objectives."""

import abc
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import ExpertPlan
from d3data.distill.objectives.base import Objective, OwnObjective
from d3data.errors import RecipeError
from d3data.sources.base import Source

if TYPE_CHECKING:
    AnyObjective = Objective  # the table's union, once the table is there


SHARED = "children must share one plan of experts: make their tables equal"


def _share_experts(children: Sequence[Objective]) -> bool:
    """Whether all that look through experts have the same plan; imports those of one's own."""
    plans = [plan for child in children if (plan := child.expert_plan) is not None]
    return all(plan == plans[0] for plan in plans)


class _Combined(Objective):
    children: tuple["AnyObjective", ...] = Field(min_length=1)

    @property
    def expert_plan(self) -> ExpertPlan | None:
        """The one plan that all children with experts share."""
        plans = (child.expert_plan for child in self.children)
        return next((plan for plan in plans if plan is not None), None)

    @property
    def period(self) -> int:
        return math.lcm(*(child.period for child in self.children))

    @abc.abstractmethod
    def contexts(self, context: ObjectiveContext) -> list[ObjectiveContext]:
        """The context of each child."""

    def streams(self, source: Source, context: ObjectiveContext) -> list[Iterator[Tensor]]:
        """The losses of each child."""
        pairs = zip(self.children, self.contexts(context), strict=True)
        return [child.losses(source, own) for child, own in pairs]

    def finish(self, source: Source, context: ObjectiveContext) -> None:
        for child, own in zip(self.children, self.contexts(context), strict=True):
            child.finish(source, own)

    @property
    def leaves(self) -> tuple[Objective, ...]:
        return tuple(leaf for child in self.children for leaf in child.leaves)

    def moves(self, purpose: str) -> bool:
        return any(child.moves(purpose) for child in self.children)

    def require_fit(self, *, classes: int, items: Sequence[int], step_sizes: int) -> None:
        for child in self.children:
            child.require_fit(classes=classes, items=items, step_sizes=step_sizes)
        if not _share_experts(self.children):
            raise RecipeError(f"the objective {self.kind}: {SHARED}")

    @model_validator(mode="after")
    def _one_plan(self) -> Self:
        if not _share_experts([one for one in self.children if not isinstance(one, OwnObjective)]):
            raise ValueError(SHARED)
        return self


class Alternate(_Combined):
    """Alternates between its children, one optimizer step each.

    D3 alternates trajectory matching and kernel matching: its 10,000 iterations are 20,000 steps.
    """

    kind: Literal["alternate"] = "alternate"

    @property
    def period(self) -> int:
        return len(self.children) * super().period

    def contexts(self, context: ObjectiveContext) -> list[ObjectiveContext]:
        of = len(self.children)
        return [context.child(index, turn=index, of=of) for index in range(of)]

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield child i's loss at the steps that are i modulo the number of children."""
        count = len(self.children)
        streams = self.streams(source, context)
        for step in context.step_range:
            loss = next(streams[step % count], None)
            if loss is None:
                return
            yield loss


class WeightedSum(_Combined):
    """Adds up its children's losses: sum over i of weight_i loss_i.

    At a step, all methods within it look through the same expert, after the same epoch where their
    windows are the same.
    """

    kind: Literal["sum"] = "sum"
    weights: tuple[float, ...]

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        if len(self.weights) != len(self.children):
            raise ValueError(f"{len(self.weights)} weights for {len(self.children)} children")
        return self

    def contexts(self, context: ObjectiveContext) -> list[ObjectiveContext]:
        return [context.child(index, together=True) for index in range(len(self.children))]

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield the weighted sum of one loss of every child."""
        for losses in zip(*self.streams(source, context), strict=True):
            weighted = [w * loss for w, loss in zip(self.weights, losses, strict=True)]
            yield sum(weighted[1:], weighted[0])
