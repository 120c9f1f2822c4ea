"""What methods share that look at images through experts: which one, and after which epoch."""

import abc
from typing import ClassVar

import torch
from pydantic import NonNegativeInt, model_validator

from d3data.distill.context import ObjectiveContext
from d3data.distill.objectives.base import Objective
from d3data.utils.schema import Extended


class ThroughExperts(Extended, Objective):
    """Looks through another recorded expert at each step, after an epoch of a window.

    Attributes:
        epochs: the first and the last epoch of the window, of which 0 is before training; None is
            the window that was published.
    """

    epochs: tuple[NonNegativeInt, NonNegativeInt] | None = None

    later: ClassVar[frozenset[str]] = frozenset({"epochs"})

    @model_validator(mode="after")
    def _window_is_recorded(self) -> "ThroughExperts":
        if self.epochs is not None:
            first, last = self.epochs
            if self.expert_plan is None:
                raise ValueError("epochs are those of experts: give experts, or no epochs")
            if not first <= last <= self.expert_plan.epochs:
                raise ValueError(
                    f"epochs {first} to {last} are no window of experts that are recorded "
                    f"from epoch 0 to {self.expert_plan.epochs}"
                )
        return self

    @property
    @abc.abstractmethod
    def published_window(self) -> tuple[int, int]:
        """The first and the last epoch where `epochs` gives none."""

    def choose(
        self, context: ObjectiveContext, step: int, rng: torch.Generator
    ) -> tuple[int, int]:
        """The number of an expert and an epoch; children of one sum choose the same."""
        rng = context.expert_rng(rng, step)
        expert = int(torch.randint(len(context.experts), (), generator=rng))
        first, last = self.epochs or self.published_window
        if first == last:
            return expert, first
        return expert, int(torch.randint(first, last + 1, (), generator=rng))
