"""Matching training trajectories (MTT).

Cazenavette, Wang, Torralba, Efros, Zhu 2022, arXiv 2203.11932, Algorithm 1; on Gaussian priors as
in D3 (Qin, Deng, Alvarez-Melis 2024, arXiv 2403.00999).
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import ExpertPlan
from d3data.distill.objectives.base import Objective, require_classes, require_step_sizes
from d3data.distill.objectives.student import Student, keep_positive
from d3data.images.augment import augmentation
from d3data.nets.network import FlatNetwork
from d3data.sources.base import Source
from d3data.utils.schema import Extended


class TrajectoryMatching(Extended, Objective):
    """Asks of the synthetic data that a student trained on it ends where an expert goes.

        || student_N - expert_{t+M} ||^2 / || expert_t - expert_{t+M} ||^2

    The student starts at expert_t and takes N = `student_steps` steps of plain gradient descent
    on `batch` items each (None: all), with a learned step size; M = `expert_epochs`;
    t is uniform below `max_start_epoch`. The rate is the learned step size itself (`plain`, as
    MTT publishes it, but clamped to be positive) or, as in D3, LeakyReLU(step size) + 1e-4.
    `stored` keeps the graphs of all N steps, not compiled: a quarter faster than
    others that are not, and N times the memory.
    """

    kind: Literal["mtt"] = "mtt"
    experts: ExpertPlan = ExpertPlan()
    student_steps: int = Field(default=10, ge=1)
    expert_epochs: int = Field(default=2, ge=1)
    max_start_epoch: int = Field(default=27, ge=1)
    batch: int | None = Field(default=None, ge=1)
    augment: str = "none"
    rate: Literal["leaky", "plain"] = "leaky"
    stored: bool = False

    later: ClassVar[frozenset[str]] = frozenset({"rate", "stored"})
    reference: ClassVar[str] = "arXiv:2203.11932"
    student: ClassVar[frozenset[str]] = frozenset({"labels", "step_size"})

    @model_validator(mode="after")
    def _trajectories_are_long_enough(self) -> "TrajectoryMatching":
        last = self.max_start_epoch - 1 + self.expert_epochs
        if last > self.experts.epochs:
            raise ValueError(
                f"max_start_epoch {self.max_start_epoch} + expert_epochs {self.expert_epochs} "
                f"reach epoch {last}, but experts.epochs is {self.experts.epochs}"
            )
        return self

    def require_fit(self, *, classes: int, items: Sequence[int], step_sizes: int) -> None:
        require_classes(classes, "no trajectory to match (its cross-entropy is constant)")
        require_step_sizes(step_sizes, self.student_steps)

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield the matching loss, whose gradients pass through all N steps of the student."""
        network = FlatNetwork(context.experts.network())
        change = augmentation(self.augment)
        for step in context.step_range:
            self.finish(source, context)
            rng = context.rng("mtt", step)
            choice = context.expert_rng(rng, step)
            trajectory = int(torch.randint(len(context.experts), (), generator=choice))
            epoch = int(torch.randint(self.max_start_epoch, (), generator=choice))
            start = context.experts.snapshot(trajectory, epoch)  # (P,)
            target = context.experts.snapshot(trajectory, epoch + self.expert_epochs)
            batches = self._batches(len(source.classes), rng)
            student = Student(network, source, batches, change, rng)
            end = student.trained(
                start,
                rates=self._rate(source.step_size),
                stored=self.stored,
                compute=context.compute,
            )
            yield (end - target).square().sum() / (start - target).square().sum()

    def finish(self, source: Source, context: ObjectiveContext) -> None:
        if self.rate == "plain":
            keep_positive(source)

    def _rate(self, step_size: Tensor) -> Tensor:
        return F.leaky_relu(step_size, 0.01) + 1e-4 if self.rate == "leaky" else step_size

    def _batches(self, items: int, rng: torch.Generator) -> Iterator[Tensor]:
        """N chunks of shuffled items, used up before they are shuffled again."""
        waiting: list[Tensor] = []
        for _ in range(self.student_steps):
            waiting = waiting or list(
                torch.randperm(items, generator=rng).split(self.batch or items)
            )
            yield waiting.pop(0)
