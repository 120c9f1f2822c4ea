"""Differentiating through the training itself (DD).

Wang, Zhu, Torralba, Efros 2018, "Dataset Distillation", arXiv 1811.10959, Algorithm 1; with
momentum as Deng, Russakovsky 2022, "Remember the Past", arXiv 2206.02916.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import NetworkSpec
from d3data.distill.objectives.base import Objective, require_classes, require_step_sizes
from d3data.distill.objectives.student import Student, keep_positive
from d3data.errors import RecipeError
from d3data.images.augment import augmentation
from d3data.nets.network import FlatNetwork
from d3data.sources.base import Source
from d3data.utils.device import move


class Unrolled(Objective):
    """Asks of the synthetic data that a network trained on them does well on real images.

        CE(theta_T; real images),    theta_{t+1} = theta_t - r_t v_{t+1},
        v_{t+1} = momentum v_t + gradient of CE(theta_t; synthetic images of step t)

    theta_0 is drawn anew each time. Items take turns: the j-th of its class is learned from in
    group j modulo `groups`, one group a step, all groups in order and `passes` times over, so
    T = groups x passes. The rates r_t are the learned step sizes, one for each step or one for
    all, clamped to be positive. `real` real images are looked at; `stored` keeps the graphs of
    all T steps, not compiled: a quarter faster than others that are not, and T times the memory.
    """

    kind: Literal["dd"] = "dd"
    network: NetworkSpec = NetworkSpec()
    groups: int = Field(default=1, ge=1)
    passes: int = Field(default=3, ge=1)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    real: int = Field(default=1024, ge=1)
    augment: str = "none"
    stored: bool = False

    reference: ClassVar[str] = "arXiv:1811.10959"
    student: ClassVar[frozenset[str]] = frozenset({"labels", "step_size"})

    def require_fit(self, *, classes: int, items: Sequence[int], step_sizes: int) -> None:
        require_classes(classes, "nothing to learn (its cross-entropy is constant)")
        require_step_sizes(step_sizes, self.groups * self.passes)
        if max(items) < self.groups:
            raise RecipeError(
                f"objective.groups is {self.groups}, and no class has so many items: lower it, "
                "or raise items_per_class"
            )

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield the loss on real images, whose gradients pass through all T steps."""
        turns = [
            torch.cat([items[group :: self.groups] for items in source.members])
            for group in range(self.groups)
        ]
        change = augmentation(self.augment)
        for step in context.step_range:
            keep_positive(source)
            rng = context.rng("dd", step)
            seed = int(torch.randint(2**62, (), generator=rng))
            network = FlatNetwork(move(self.network.build(context.task, seed), context.device))
            student = Student(network, source, turns * self.passes, change, rng)
            end = student.trained(
                network.start,
                rates=source.step_size,
                momentum=self.momentum,
                stored=self.stored,
                compute=context.compute,
            )
            real, labels = context.task.train.batch(self.real, rng=rng)
            yield F.cross_entropy(network(end, real), labels)

    def finish(self, source: Source, context: ObjectiveContext) -> None:
        keep_positive(source)
