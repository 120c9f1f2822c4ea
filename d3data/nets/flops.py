"""The floating-point operations of a network, for one image.

Counted by torch from the shapes of convolutions and matrix products, two for each multiply-add;
elementwise operations, such as norms and activations, are not counted. Nothing is computed: shapes
go through torch's meta device.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from d3data.nets.network import shapes_only

BATCH = 2  # norms over a batch need more than one image


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one image.

    Attributes:
        forward: from the image to the logits.
        training: forward, and back to the gradients of all parameters, not to that of the image.
    """

    forward: int
    training: int


def backward_of_convolution(
    gradient: Sequence[int], inputs: Sequence[int], weight: Sequence[int], *others: Any, **_: Any
) -> int:
    """Each gradient in the output mask costs as much as the forward convolution.

    Replaces torch's own formula, which counts the weights of grouped convolutions as if they had
    one group.
    """
    _bias, _stride, _padding, _dilation, transposed, _output_padding, _groups, mask = others
    sizes = inputs if transposed else gradient
    once = 2 * sizes[0] * math.prod(sizes[2:]) * math.prod(weight)
    return once * (bool(mask[0]) + bool(mask[1]))


FORMULAS = {torch.ops.aten.convolution_backward: backward_of_convolution}


def count_flops(network: nn.Module, shape: tuple[int, ...]) -> Flops:
    """The operations of `network` on one input of `shape`, such as (C, H, W), as in training.

    All parameters are included; neither the network nor random numbers change.
    """
    with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        outputs = shapes_only(network, (BATCH, *shape))
        forward = counter.get_total_flops()
        outputs.sum().backward()
    return Flops(forward // BATCH, counter.get_total_flops() // BATCH)
