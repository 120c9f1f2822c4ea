"""The class that every method extends, and the sampling that several of them need."""

import abc
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import ExpertPlan
from d3data.sources.base import Source
from d3data.utils.schema import Frozen

STUDENT = ("labels", "step_size")


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
    """

    kind: str

    reference: ClassVar[str] = ""
    student: ClassVar[frozenset[str]] = frozenset()

    @abc.abstractmethod
    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield one loss (scalar) for each step of `context.step_range`."""

    @property
    def expert_plan(self) -> ExpertPlan | None:
        """The trajectories that it asks for: its field `experts`, if it has one."""
        plan: ExpertPlan | None = getattr(self, "experts", None)
        return plan

    def moves(self, purpose: str) -> bool:
        """Whether its losses have gradients for tensors that are for this `purpose`."""
        return purpose in self.student if purpose in STUDENT else True

    @property
    def leaves(self) -> tuple["Objective", ...]:
        """The methods that it combines; itself, if it is a method."""
        return (self,)

    @property
    def period(self) -> int:
        """How many steps it takes until every method in it has had its turn."""
        return 1


def sample_items(classes: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """(K, count) items, `count` of each class: its items in random order, as evenly as it goes."""
    rows = []
    for label in classes.unique():
        items = torch.nonzero(classes.cpu() == label.cpu()).flatten()
        turns = [
            items[torch.randperm(len(items), generator=rng)]
            for _ in range(-(-count // len(items)))
        ]
        rows.append(torch.cat(turns)[:count])
    return torch.stack(rows)


def sample_real(context: ObjectiveContext, count: int, rng: torch.Generator) -> Tensor:
    """(K, count, C, H, W): `count` random training images of each class."""
    labels = range(len(context.task.classes))
    batches = [context.task.train.batch(count, of=label, rng=rng)[0] for label in labels]
    return torch.stack(batches).to(context.device)
