"""Matching training trajectories (MTT).

Cazenavette, Wang, Torralba, Efros, Zhu 2022, arXiv 2203.11932, Algorithm 1; on Gaussian priors as
in D3 (Qin, Deng, Alvarez-Melis 2024, arXiv 2403.00999). The step size's LeakyReLU is D3's.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import ExpertPlan
from d3data.distill.objectives.base import Objective
from d3data.errors import RecipeError
from d3data.images import augment
from d3data.sources.base import Source
from d3data.utils.device import to_device


class TrajectoryMatching(Objective):
    """Asks of the synthetic data that a student trained on it ends where an expert goes.

        || student_N - expert_{t+M} ||^2 / || expert_t - expert_{t+M} ||^2

    The student starts at expert_t and takes N = `student_steps` steps of plain gradient descent
    on `batch` items each (None: all), with a learned step size; M = `expert_epochs`;
    t is uniform below `max_start_epoch`.
    """

    kind: Literal["mtt"] = "mtt"
    experts: ExpertPlan = ExpertPlan()
    student_steps: int = Field(default=10, ge=1)
    expert_epochs: int = Field(default=2, ge=1)
    max_start_epoch: int = Field(default=27, ge=1)
    batch: int | None = Field(default=None, ge=1)
    augment: str = "none"

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

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield the matching loss; the graph runs through all N steps of the student."""
        if len(context.task.classes) < 2:
            raise RecipeError(
                "a subtask of one class has no trajectory to match (its cross-entropy is "
                "constant): use fewer subtasks, or an objective without experts"
            )
        network = context.experts.network().requires_grad_(False)
        names = [name for name, _ in network.named_parameters()]
        shapes = [parameter.shape for parameter in network.parameters()]
        change = augment.augmentation(self.augment)
        for step in context.step_range:
            rng = context.rng("mtt", step)
            choice = context.expert_rng(rng, step)
            trajectory = int(torch.randint(len(context.experts), (), generator=choice))
            epoch = int(torch.randint(self.max_start_epoch, (), generator=choice))
            start = context.experts.snapshot(trajectory, epoch)  # (P,)
            target = context.experts.snapshot(trajectory, epoch + self.expert_epochs)
            step_size = F.leaky_relu(source.step_size, 0.01) + 1e-4
            student = start.clone().requires_grad_()
            for chosen in self._batches(len(source.classes), rng):
                items = to_device(chosen, context.device)
                images = change(source.images(items, rng), rng)
                pieces = student.split([shape.numel() for shape in shapes])
                views = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
                logits = functional_call(network, dict(zip(names, views, strict=True)), (images,))
                goal = source.classes if source.labels is None else source.labels
                loss = F.cross_entropy(logits, goal[items])
                (gradient,) = torch.autograd.grad(loss, student, create_graph=True)
                student = student - step_size * gradient
            yield (student - target).square().sum() / (start - target).square().sum()

    def _batches(self, items: int, rng: torch.Generator) -> Iterator[Tensor]:
        """N chunks of shuffled items, used up before they are shuffled again."""
        waiting: list[Tensor] = []
        for _ in range(self.student_steps):
            waiting = waiting or list(
                torch.randperm(items, generator=rng).split(self.batch or items)
            )
            yield waiting.pop(0)
