"""How far images are from others in the eyes of a network.

Johnson, Alahi, Fei-Fei 2016, "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution", arXiv 1603.08155.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from d3data.distill.context import ObjectiveContext
from d3data.distill.recipe import WarmStart
from d3data.nets.network import features


def perceptual(
    config: WarmStart,
    drawn: Tensor,
    images: Tensor,
    context: ObjectiveContext,
    random: torch.Generator,
) -> Tensor | float:
    """The weighted squared error per feature of an expert, chosen at random, at its last epoch.

    (B, C, H, W), (B, C, H, W) -> (); 0 where it has no weight.
    """
    if not config.perceptual:
        return 0.0
    experts = context.experts
    chosen = int(torch.randint(len(experts), (), generator=random))
    network = experts.trained(chosen, experts.plan.epochs)
    with torch.no_grad():
        expected = context.compute(features, network, images)
    return config.perceptual * F.mse_loss(context.compute(features, network, drawn), expected)
