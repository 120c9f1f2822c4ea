"""Objectives made of objectives."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator
from torch import Tensor

from d3data.distill.context import Workbench
from d3data.distill.experts import ExpertPlan
from d3data.distill.objectives.base import steps
from d3data.sources.base import Source
from d3data.utils.schema import Frozen

if TYPE_CHECKING:
    from d3data.distill.objectives import AnyObjective


class _Children(Frozen):
    children: tuple["AnyObjective", ...] = Field(min_length=1)

    @property
    def experts(self) -> ExpertPlan | None:
        """The one plan that all children with experts share."""
        return next((c.experts for c in self.children if c.experts is not None), None)

    @model_validator(mode="after")
    def _one_plan(self) -> "_Children":
        plans = [child.experts for child in self.children if child.experts is not None]
        if any(plan != plans[0] for plan in plans):
            raise ValueError("children must share one plan of experts: make their tables equal")
        return self


class Alternate(_Children):
    """Asks what its children ask, one after the other, each with an update of its own.

    D3 alternates trajectory matching and kernel matching: its 10,000 iterations are 20,000 steps.
    """

    kind: Literal["alternate"] = "alternate"

    def losses(self, source: Source, bench: Workbench) -> Iterator[Tensor]:
        """Yield child i's loss at the steps that are i modulo the number of children."""
        count = len(self.children)
        streams = [
            child.losses(source, bench.child(index, turn=index, of=count))
            for index, child in enumerate(self.children)
        ]
        for step in steps(bench):
            loss = next(streams[step % count], None)
            if loss is None:
                return
            yield loss


class WeightedSum(_Children):
    """Asks what its children ask at once: sum over i of weight_i loss_i."""

    kind: Literal["sum"] = "sum"
    weights: tuple[float, ...]

    @model_validator(mode="after")
    def _one_weight_each(self) -> "WeightedSum":
        if len(self.weights) != len(self.children):
            raise ValueError(f"{len(self.weights)} weights for {len(self.children)} children")
        return self

    def losses(self, source: Source, bench: Workbench) -> Iterator[Tensor]:
        """Yield the weighted sum of one loss of every child."""
        streams = [
            child.losses(source, bench.child(index)) for index, child in enumerate(self.children)
        ]
        for losses in zip(*streams, strict=True):
            weighted = [w * loss for w, loss in zip(self.weights, losses, strict=True)]
            yield sum(weighted[1:], weighted[0])
