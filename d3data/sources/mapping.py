"""The mapping network of StyleGAN: what styles come from. No set ships it.

Karras, Laine, Aila 2019, "A Style-Based Generator Architecture for Generative Adversarial
Networks", arXiv 1812.04948; of a class as Karras et al. 2020, arXiv 2006.06676.
"""

import itertools
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALL = 1e-8  # added to what is divided by
Shapes = Mapping[str, tuple[int, ...]]


def shapes(styles: int, classes: int, depth: int = 2) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a network from D noise values and a class to D."""
    found = {"embed.weight": (styles, classes), "embed.bias": (styles,)} if classes else {}
    for number in range(depth):
        before = styles * (2 if classes and not number else 1)
        found |= {f"layers.{number}.weight": (styles, before), f"layers.{number}.bias": (styles,)}
    return found


class StyleMapping(nn.Module):
    """(B, Z) noise, (B,) classes -> (B, D) styles; built from the shapes of its weights.

    Attributes:
        classes: how many it knows; 0 where it asks for none.
        noise: Z.
        styles: D.

    Raises:
        ValueError: there is no such network.
    """

    embed: nn.Linear | None
    layers: nn.ModuleList

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        self.embed = _linear(shapes, "embed") if "embed.weight" in shapes else None
        self.classes = 0 if self.embed is None else self.embed.in_features
        layers = list(_layers(shapes))
        if not layers or len(shapes) != 2 * (len(layers) + (self.embed is not None)):
            raise ValueError("its layers are not numbered from 0, or there are other weights")
        self.layers = nn.ModuleList(layers)
        features = 0 if self.embed is None else self.embed.out_features
        self.noise = layers[0].in_features - features
        self.styles = layers[-1].out_features
        ends = [layer.out_features for layer in layers[:-1]]
        if self.noise < 1 or ends != [layer.in_features for layer in layers[1:]]:
            raise ValueError("its layers do not fit together")

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        hidden = _normalized(noise)
        if self.embed is not None:
            known = F.one_hot(labels, self.classes).to(hidden.dtype)
            hidden = torch.cat([hidden, _normalized(self.embed(known))], 1)
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), 0.2) * math.sqrt(2)
        return hidden

    @torch.no_grad()
    def randomize(self, rng: torch.Generator) -> None:
        """Normal weights over the square root of their inputs, biases of 0."""
        for name, one in self.named_parameters():
            values = torch.zeros(one.shape)
            if name.endswith("weight"):
                values = torch.randn(one.shape, generator=rng) / math.sqrt(one.shape[1])
            one.copy_(values)


def _layers(shapes: Shapes) -> Iterator[nn.Linear]:
    for number in itertools.count():
        if f"layers.{number}.weight" not in shapes:
            return
        yield _linear(shapes, f"layers.{number}")


def _linear(shapes: Shapes, name: str) -> nn.Linear:
    shape = shapes[f"{name}.weight"]
    if len(shape) != 2 or min(shape) < 1 or shapes.get(f"{name}.bias") != shape[:1]:
        raise ValueError(f"{name} is no linear layer with a bias")
    return nn.Linear(shape[1], shape[0])


def _normalized(values: Tensor) -> Tensor:
    return values * (values.square().mean(1, keepdim=True) + SMALL).rsqrt()
