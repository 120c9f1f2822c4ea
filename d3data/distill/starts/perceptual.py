"""How far images are from others in the eyes of a network.

Johnson, Alahi, Fei-Fei 2016, "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution", arXiv 1603.08155.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from d3data.distill.context import ObjectiveContext
from d3data.distill.recipe import WarmStart
from d3data.nets.network import features

Error = Callable[[Tensor, Tensor, torch.Generator], Tensor | float]


def perceptual(config: WarmStart, context: ObjectiveContext) -> Error:
    """The weighted squared error per feature of an expert, chosen at random, at its last epoch.

    Of drawn and real images, (B, C, H, W), (B, C, H, W) -> (); 0 where it has no weight.
    """
    if not config.perceptual:
        return lambda drawn, images, random: 0.0
    experts, view = context.experts, context.experts.viewer()

    def error(drawn: Tensor, images: Tensor, random: torch.Generator) -> Tensor:
        chosen = int(torch.randint(len(experts), (), generator=random))
        network = view(chosen, experts.plan.epochs)
        with torch.no_grad():
            expected = context.compute(features, network, images)
        return config.perceptual * F.mse_loss(context.compute(features, network, drawn), expected)

    return error
