"""Aligning classes with what experts recognize (the calibration of DANCE).

Zhang, Li, Lin, Wang, Qian, Ge 2024, "DANCE: Dual-View Distribution Alignment for Dataset
Condensation", arXiv 2406.01063: the inter-class view. Ran, Pu, Liu, Bi, Xiao 2026, "TGDD:
Trajectory Guided Dataset Distillation with Balanced Distribution", arXiv 2512.02469, does so
along the whole trajectory.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import ExpertPlan
from d3data.distill.objectives.base import sample_items
from d3data.distill.objectives.through_experts import ThroughExperts
from d3data.images import augment
from d3data.nets.network import logits
from d3data.sources.base import Source
from d3data.utils.device import to_device


class ExpertAlignment(ThroughExperts):
    """Asks of the synthetic data that experts recognize it.

        mean over draws x of  -log p(class of x | A(x))

    p are the probabilities of an expert after epoch min(e + a, last); e is uniform in the window
    `epochs`, by default all from 1 on, and a from 0 to `ahead`: so in a sum with a method that
    matches features after epoch e, draws are told apart as the same expert does a little later.
    A is an augmentation; `samples` draws of each class.
    """

    kind: Literal["align"] = "align"
    experts: ExpertPlan = ExpertPlan()
    ahead: int = Field(default=3, ge=0)
    samples: int = Field(default=48, ge=1)
    augment: str = "siamese"

    reference: ClassVar[str] = "arXiv:2406.01063"

    @property
    def published_window(self) -> tuple[int, int]:
        return 1, self.experts.epochs

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield the cross-entropy of draws through an expert."""
        change, view = augment.augmentation(self.augment), context.experts.viewer()
        for step in context.step_range:
            rng = context.rng("align", step)
            expert, epoch = self.choose(context, step, rng)
            later = epoch + int(torch.randint(self.ahead + 1, (), generator=rng))
            network = view(expert, min(later, self.experts.epochs))
            chosen = sample_items(source, self.samples, rng).flatten()
            items = to_device(chosen, context.device)
            images = change(source.images(items, rng), rng)
            outputs = context.compute(logits, network, images)
            yield F.cross_entropy(outputs, source.classes[items])
