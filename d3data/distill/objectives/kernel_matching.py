"""Matching distributions of features by maximum mean discrepancy, as in D3.

Qin, Deng, Alvarez-Melis 2024, arXiv 2403.00999; the unbiased estimator is Gretton et al. 2012,
"A Kernel Two-Sample Test", Eq. 3.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Discriminator, Field, Tag
from torch import Tensor

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import ExpertPlan
from d3data.distill.objectives.base import (
    choose_real,
    real_features,
    sample_items,
    synthetic_features,
)
from d3data.distill.objectives.through_experts import ThroughExperts
from d3data.sources.base import Source
from d3data.utils.device import to_device

PUBLISHED = (1.0, 2.0, 4.0, 8.0, 16.0)
AROUND_MEDIAN = (0.25, 0.5, 1.0, 2.0, 4.0)

Width = Annotated[float, Field(ge=1e-3, le=1e6)]
Bandwidth = Annotated[
    Annotated[Literal["published", "median"], Tag("name")]
    | Annotated[tuple[Width, ...], Field(min_length=1, max_length=32), Tag("widths")],
    Discriminator(lambda given: "widths" if isinstance(given, list | tuple) else "name"),
]


class KernelMatching(ThroughExperts):
    """Asks of the synthetic data that its features are distributed, class by class, as real ones.

        sum over classes of  E k(x, x') + E k(y, y') - 2 E k(x, y)

    x are features of synthetic and y of real images before the classifier of an expert, as
    published after its last epoch, or after one of the window `epochs`; k is a sum of Gaussian
    kernels. `bandwidth`: the published widths 1, 2, 4, 8, 16, 1/4 to 4 times the median distance,
    or a list of widths. `samples` images of each class on either side.
    """

    kind: Literal["mmd"] = "mmd"
    experts: ExpertPlan = ExpertPlan()
    samples: int = Field(default=30, ge=2)
    bandwidth: Bandwidth = "published"

    reference: ClassVar[str] = "arXiv:2403.00999"

    @property
    def published_window(self) -> tuple[int, int]:
        return self.experts.epochs, self.experts.epochs

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield the discrepancy, summed over classes; it may be slightly negative."""
        view = context.experts.viewer()
        for step in context.step_range:
            rng = context.rng("mmd", step)
            network = view(*self.choose(context, step, rng))
            items = sample_items(source, self.samples, rng)  # (K, n)
            chosen = choose_real(context, self.samples, rng)  # (K, n)
            noise = source.noise(items.numel(), rng)
            y = real_features(context, network, chosen)  # (K, n, D), before x has a graph
            x = synthetic_features(context, network, source, items, noise)
            yield discrepancy(x, y, self.bandwidth).sum()


def discrepancy(x: Tensor, y: Tensor, bandwidth: str | Sequence[float]) -> Tensor:
    """The unbiased squared MMD of each class: (K, m, D), (K, n, D) -> (K,)."""
    xx, yy, xy = _squared(x, x), _squared(y, y), _squared(x, y)
    if bandwidth == "median":
        between = xy.detach().flatten(1).median(1).values
        widths = between[:, None] * _squares(AROUND_MEDIAN, x)  # (K, W)
    else:
        fixed = PUBLISHED if isinstance(bandwidth, str) else bandwidth
        widths = _squares(fixed, x).expand(len(x), -1)
    m, n, own = x.shape[1], y.shape[1], widths.shape[1]  # k(x, x) = W
    within_x = (_kernel(xx, widths).sum((1, 2)) - own * m) / (m * (m - 1))
    within_y = (_kernel(yy, widths).sum((1, 2)) - own * n) / (n * (n - 1))
    return within_x + within_y - 2 * _kernel(xy, widths).mean((1, 2))


def _squares(widths: Sequence[float], like: Tensor) -> Tensor:
    squares = torch.tensor(widths, dtype=torch.float64).square()
    return to_device(squares.to(like.dtype), like.device)


def _squared(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances: (K, m, D), (K, n, D) -> (K, m, n)."""
    products = x @ y.transpose(1, 2)
    squared = x.square().sum(2)[:, :, None] + y.square().sum(2)[:, None] - 2 * products
    if x is y:
        squared = squared - torch.diag_embed(squared.diagonal(dim1=1, dim2=2))
    return squared.clamp(min=0)


def _kernel(squared: Tensor, widths: Tensor) -> Tensor:
    """Gaussian kernels, added up: (K, m, n), (K, W) -> (K, m, n)."""
    scale = (2 * widths).clamp(min=torch.finfo(squared.dtype).tiny)
    return torch.exp(-squared[:, None] / scale[:, :, None, None]).sum(1)
