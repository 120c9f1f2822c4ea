"""Ridge regression in a kernel, as KIP and FRePo do: n support points, m targets, K classes."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from d3data.distill.objectives.base import Objective, require_classes
from d3data.sources.base import Source


class Regression(Objective):
    """Predicts real labels from the synthetic data, whose labels may be learned with them."""

    student: ClassVar[frozenset[str]] = frozenset({"labels"})
    regresses: ClassVar[bool] = True

    def goals(self, labels: Tensor, classes: int) -> Tensor:
        """(B,) classes -> (B, K): what stands for them, and what learned labels begin as."""
        return centered(labels, classes)

    def targets(self, source: Source, classes: int) -> Tensor:
        """(N, K): what the items are to be predicted as: their labels, or what their class is."""
        labels = source.given_labels
        return self.goals(source.classes, classes) if labels is None else labels

    def require_fit(self, *, classes: int, items: Sequence[int], step_sizes: int) -> None:
        require_classes(classes, "nothing to predict")


def ridge(k_ss: Tensor, k_ts: Tensor, y_s: Tensor, *, regularization: float) -> Tensor:
    """(n, n), (m, n), (n, K) -> (m, K): K_ts (K_ss + regularization tr(K_ss) / n I)^-1 y_s."""
    size = len(k_ss)
    units = torch.eye(size, dtype=k_ss.dtype, device=k_ss.device)
    added = regularization * k_ss.trace() / size * units
    predicted: Tensor = k_ts @ torch.linalg.solve(k_ss + added, y_s.to(k_ss.dtype))
    return predicted


def centered(labels: Tensor, classes: int) -> Tensor:
    """(B,) classes -> (B, K): one-hot, minus 1 / K."""
    return F.one_hot(labels, classes).float() - 1 / classes
