"""Kernel ridge regression in an infinitely wide network (KIP).

Nguyen, Chen, Lee 2021, "Dataset Meta-Learning from Kernel Ridge-Regression", arXiv 2011.00050,
Algorithm 1 and Eq. 4 (label solve: Eq. 7); the kernel as in Jacot, Gabriel, Hongler 2018, arXiv
1806.07572, by the arc-cosine formulas of Cho, Saul 2009.
"""

import math
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from d3data.distill.context import ObjectiveContext
from d3data.distill.objectives.base import sample_real
from d3data.distill.objectives.regression import Regression, ridge
from d3data.sources.base import Source
from d3data.utils.device import to_device

WEIGHTS, BIASES = 2.0, 0.01  # variances, as published
UNSEEN = 1e-8  # of the largest singular value: labels that predict so little are not solved for
SAME = 1 - 1e-14  # a cosine from which on two inputs are one


class KernelRegression(Regression):
    """Asks of the synthetic data that regression on them predicts the labels of real images.

        1/2 || y_t - K_ts (K_ss + regularization tr(K_ss) / n I)^-1 y_s ||^2 / (m K)

    K is the neural tangent kernel of an infinitely wide fully connected ReLU network with `depth`
    hidden layers; y_t are centered classes, and so are y_s unless labels are learned. As many of
    the `real` real images come from each class. `solve_labels` replaces learned labels before
    each step, and after the last one, by those that minimize the error at the images as they
    are; where several do, by the shortest. In float64.
    """

    kind: Literal["kip"] = "kip"
    depth: int = Field(default=1, ge=1, le=64)
    real: int = Field(default=5000, ge=1)
    regularization: float = Field(default=1e-6, gt=0)
    solve_labels: bool = False

    reference: ClassVar[str] = "arXiv:2011.00050"

    @property
    def solves(self) -> bool:
        return self.solve_labels

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield the mean squared error of the regression on real images."""
        for step in context.step_range:
            k_ss, k_ts, y_t = self._kernels(source, context, step)
            self._solve(source, k_ss, k_ts, y_t)
            y_s = self.targets(source, y_t.shape[1])
            predicted = ridge(k_ss, k_ts, y_s, regularization=self.regularization)
            yield 0.5 * (predicted - y_t).square().mean()

    @torch.no_grad()
    def finish(self, source: Source, context: ObjectiveContext) -> None:
        """Solve for the labels of the images that the last step left."""
        if self.solve_labels:
            self._solve(source, *self._kernels(source, context, context.steps))

    def _kernels(
        self, source: Source, context: ObjectiveContext, step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """K_ss (n, n), K_ts (m, n) and y_t (m, K) of the real images of a step."""
        rng, classes = context.rng("kip", step), len(context.task.classes)
        each = -(-self.real // classes)
        labels = to_device(torch.arange(classes).repeat_interleave(each), context.device)
        t = sample_real(context, each, rng).flatten(0, 1).flatten(1).double()
        x = source.images(torch.arange(len(source.classes)), rng).flatten(1).double()
        k_ss, k_ts = tangent_kernel(x, x, self.depth), tangent_kernel(t, x, self.depth)
        return k_ss, k_ts, self.goals(labels, classes).double()

    @torch.no_grad()
    def _solve(self, source: Source, k_ss: Tensor, k_ts: Tensor, y_t: Tensor) -> None:
        if self.solve_labels and source.labels is not None:
            units = torch.eye(len(k_ss), dtype=k_ss.dtype, device=k_ss.device)
            weights = ridge(k_ss, k_ts, units, regularization=self.regularization)
            source.labels.copy_(torch.linalg.pinv(weights, rtol=UNSEEN) @ y_t)


def tangent_kernel(one: Tensor, other: Tensor, depth: int) -> Tensor:
    """(m, D), (n, D) -> (m, n): the NTK of `depth` hidden ReLU layers, infinitely wide."""

    def affine(product: Tensor) -> Tensor:
        return WEIGHTS * product + BIASES

    size = one.shape[1]
    covariance = affine(one @ other.T / size)  # of what enters the ReLUs of a layer
    left, right = (affine(x.square().sum(1) / size) for x in (one, other))  # variances
    tangent = covariance
    for _ in range(depth):
        scale = (left[:, None] * right).sqrt()
        cosine = covariance / scale
        same = cosine >= SAME  # where the angle has no gradient, and needs none
        angle = torch.where(same, 0.0, torch.where(same, 0.0, cosine).clamp(min=-SAME).acos())
        rest = (math.pi - angle) / (2 * math.pi)  # E[relu'(u) relu'(v)]
        passed = scale * (angle.sin() / (2 * math.pi) + rest * angle.cos())  # E[relu(u) relu(v)]
        covariance = affine(passed)
        tangent = WEIGHTS * rest * tangent + covariance
        left, right = affine(left / 2), affine(right / 2)
    return tangent
