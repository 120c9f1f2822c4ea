"""Matching mean features (DM).

Zhao & Bilen 2023, "Dataset Condensation with Distribution Matching", arXiv 2110.04181, Eq. 6.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import ExpertPlan, NetworkSpec
from d3data.distill.objectives.base import (
    choose_real,
    real_features,
    sample_items,
    synthetic_features,
)
from d3data.distill.objectives.through_experts import ThroughExperts
from d3data.images import augment
from d3data.sources.base import Source
from d3data.utils.device import move


class MeanMatching(ThroughExperts):
    """Asks of the synthetic data that its mean feature is, class by class, that of real images.

        sum over classes of  || mean f(A(x)) - mean f(A(y)) ||^2

    f is `network` before its classifier, freshly initialised at each step as published, or, with
    `experts` in its place, a recorded one after a random epoch of the window `epochs`, by default
    from 1 on; A is one augmentation, the same on both sides: one for all classes or, `by_class`,
    another for each, as published. `samples` draws and `real` real images of each class; of a
    source without noise each item once, as published, up to `samples`, but where classes differ in
    size and it is not `by_class`, no more of each than the smallest has.
    """

    kind: Literal["dm"] = "dm"
    network: NetworkSpec | None = None
    experts: ExpertPlan | None = None
    samples: int = Field(default=48, ge=1)
    real: int = Field(default=256, ge=1)
    augment: str = "siamese"
    by_class: bool = False

    later: ClassVar[frozenset[str]] = ThroughExperts.later | {"by_class"}
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
        sizes = [len(items) for items in source.members]
        most = max(sizes) if self.by_class else min(sizes)
        samples = self.samples if source.noise_values else min(self.samples, most)
        networks = self._networks(context)
        for step in context.step_range:
            rng = context.rng("dm", step)
            network = networks(step, rng)
            items = sample_items(source, samples, rng)  # (K, n)
            chosen = choose_real(context, self.real, rng)  # (K, m)
            noise = source.noise(items.numel(), rng)
            lots = len(items) if self.by_class else 1
            noises = (None,) * lots if noise is None else noise.chunk(lots)
            losses = []
            for one, other, white, size in zip(
                items.chunk(lots), chosen.chunk(lots), noises, sizes[:lots], strict=True
            ):
                if self.by_class and white is None:
                    one = one[:, :size]  # each item of a small class once
                same = partial(change.apply, drawn=change.draw(1, rng, shared=True))
                y = real_features(context, network, other, same)  # (k, m, D), before x's graph
                x = synthetic_features(context, network, source, one, white, same)  # (k, n, D)
                losses.append((x.mean(1) - y.mean(1)).square().sum())
            yield sum(losses[1:], losses[0])

    def _networks(self, context: ObjectiveContext) -> Callable[[int, torch.Generator], nn.Module]:
        """The network that a step looks through."""
        if self.experts is not None:
            view = context.experts.viewer()
            return lambda step, rng: view(*self.choose(context, step, rng))
        spec = self.network or NetworkSpec()

        def fresh(step: int, rng: torch.Generator) -> nn.Module:
            seed = int(torch.randint(2**62, (), generator=rng))
            return move(spec.build(context.task, seed).requires_grad_(False), context.device)

        return fresh
