"""Regression on the features of networks in training (FRePo).

Zhou, Nezhadarya, Ba 2022, "Dataset Distillation using Neural Feature Regression",
arXiv 2206.00719, Algorithm 1.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import NetworkSpec
from d3data.distill.objectives.regression import Regression, centered, ridge
from d3data.distill.pupil import Pupil
from d3data.nets.network import features
from d3data.sources.base import Source
from d3data.utils.device import to_device
from d3data.utils.schema import unless_given

TAUGHT = 1000  # items that a network is taught at a time, at most
MOMENTUM = 0.9  # of running statistics of batch norms, as published


class FeatureRegression(Regression):
    """Asks of the synthetic data that regression on their features predicts real labels.

        1/2 || y_t - K_ts (K_ss + regularization tr(K_ss) / n I)^-1 y_s ||^2 / m,   K = f f^T
        - mean over items of min(the lead of the largest label over the next, 1 / K)

    f are the features of a network of a `pool`, chosen at random. After each step the one that
    was looked through takes a step of Adam on the synthetic data; older than `oldest` steps it is
    replaced by a new one. The second term keeps learned labels apart. `mirror` adds the mirrored
    images; `real` real images are looked at.
    """

    kind: Literal["frepo"] = "frepo"
    network: Annotated[NetworkSpec, unless_given(norm="batch")] = NetworkSpec(norm="batch")
    pool: int = Field(default=10, ge=1)
    oldest: int = Field(default=100, ge=1)
    real: int = Field(default=1024, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    regularization: float = Field(default=1e-6, gt=0)
    mirror: bool = False

    reference: ClassVar[str] = "arXiv:2206.00719"

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield the squared error of the regression on real images, and the margin of labels."""
        classes, every = len(context.task.classes), torch.arange(len(source.classes))
        pool = [self._begun(number, context) for number in range(self.pool)]

        def looked_through(step: int) -> Pupil:
            choice = context.rng("choice", step)
            return pool[int(torch.randint(self.pool, (), generator=choice))]

        for step in context.step_range:
            if step:
                self._teach(looked_through(step - 1), source, classes, context.rng("teach", step))
            rng, network = context.rng("frepo", step), looked_through(step).network.eval()
            x, y_s = source.images(every, rng), self.targets(source, classes)
            largest = y_s.topk(2).values
            lead = (largest[:, 0] - largest[:, 1]).clamp(max=1 / classes).mean()
            if self.mirror:
                x, y_s = torch.cat([x, x.flip(3)]), torch.cat([y_s, y_s])
            real, labels = context.task.train.batch(self.real, rng=rng)
            with torch.no_grad():
                t = context.compute(features, network, real).double()
            s = network.features(x).double()
            predicted = ridge(s @ s.T, t @ s.T, y_s, regularization=self.regularization)
            apart = (predicted - self.goals(labels, classes)).square().sum(1).mean()
            yield 0.5 * apart - lead

    def goals(self, labels: Tensor, classes: int) -> Tensor:
        """Centered classes / sqrt(K / 10), so that more classes weigh no less."""
        return centered(labels, classes) / math.sqrt(classes / 10)

    def _begun(self, number: int, context: ObjectiveContext) -> Pupil:
        """Network `number` of the pool; their ages are spread, so that few are new at a time."""

        def build() -> Pupil:
            adam = partial(torch.optim.Adam, lr=self.learning_rate)
            pupil = Pupil(self.network, context, adam)
            for norm in pupil.network.modules():
                if isinstance(norm, nn.BatchNorm2d):
                    norm.momentum = MOMENTUM
            pupil.renew(context.rng("pool", number), age=number * self.oldest // self.pool)
            return pupil

        return context.keep(f"pool/{number}", build)

    def _teach(self, pupil: Pupil, source: Source, classes: int, rng: torch.Generator) -> None:
        """A step on what the synthetic data are now, or a new network in the place of an old."""
        if pupil.age > self.oldest:
            pupil.renew(rng)
            return
        items = torch.randperm(len(source.classes), generator=rng)[:TAUGHT]
        with torch.no_grad():
            images = source.images(items, rng)
            goal = self.targets(source, classes)[to_device(items, images.device)]
        pupil.step(F.mse_loss(pupil.network.train()(images), goal))
