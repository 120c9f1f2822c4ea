"""Matching mean features (DM).

Zhao & Bilen 2023, "Dataset Condensation with Distribution Matching", arXiv 2110.04181, Eq. 6.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import ExpertPlan, NetworkSpec
from d3data.distill.objectives.base import sample_items, sample_real
from d3data.distill.objectives.through_experts import ThroughExperts
from d3data.images import augment
from d3data.nets.network import features
from d3data.sources.base import Source


class MeanMatching(ThroughExperts):
    """Asks of the synthetic data that its mean feature is, class by class, that of real images.

        sum over classes of  || mean f(A(x)) - mean f(A(y)) ||^2

    f is `network` before its classifier, freshly initialised at each step as published, or, with
    `experts` in its place, a recorded one after a random epoch of the window `epochs`, by default
    from 1 on; A is one augmentation,
    drawn once and applied to both sides. `samples` draws and `real` real images of each class;
    of a source without noise each item once, as published, up to `samples`.
    """

    kind: Literal["dm"] = "dm"
    network: NetworkSpec | None = None
    experts: ExpertPlan | None = None
    samples: int = Field(default=48, ge=1)
    real: int = Field(default=256, ge=1)
    augment: str = "siamese"

    reference: ClassVar[str] = "arXiv:2110.04181"

    @model_validator(mode="after")
    def _one_kind_of_network(self) -> Self:
        if self.network is not None and self.experts is not None:
            raise ValueError("give either a network or experts: features come from one of them")
        return self

    @property
    def published_window(self) -> tuple[int, int]:
        assert self.experts is not None
        return 1, self.experts.epochs

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield the squared distance of mean features, summed over classes."""
        change = augment.augmentation(self.augment)
        fewest = int(torch.bincount(source.classes).min())
        samples = self.samples if source.noise_values else min(self.samples, fewest)
        for step in context.step_range:
            rng = context.rng("dm", step)
            network = self._network(context, step, rng)
            items = sample_items(source.classes, samples, rng)  # (K, n)
            real = sample_real(context, self.real, rng)  # (K, m, C, H, W)
            drawn = source.images(items.flatten(), rng)
            shared = change.draw(1, rng, shared=True)
            x = context.compute(features, network, change.apply(drawn, shared))
            with torch.no_grad():
                images = change.apply(real.flatten(0, 1), shared)
                y = context.compute(features, network, images)
            gap = x.unflatten(0, items.shape).mean(1) - y.unflatten(0, real.shape[:2]).mean(1)
            yield gap.square().sum()

    def _network(self, context: ObjectiveContext, step: int, rng: torch.Generator) -> nn.Module:
        if self.experts is None:
            seed = int(torch.randint(2**62, (), generator=rng))
            network = self.network or NetworkSpec()
            return network.build(context.task, seed).to(context.device).requires_grad_(False)
        return context.experts.trained(*self.choose(context, step, rng))
