"""What every network is: a body that turns images into features, and a linear layer on top."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

RANDOM = ("Dropout", "AlphaDropout", "FeatureAlphaDropout", "StochasticDepth", "DropPath")


class Network(nn.Module):
    """A body, (B, C, H, W) -> (B, D), and the linear classifier on its features, (B, D) -> (B, K).

    Matching methods and audits use `features`; experts and trials train the whole.
    """

    body: nn.Module
    classifier: nn.Linear

    def __init__(self, body: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.body, self.classifier = body, classifier

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): the input of the classifier."""
        features: Tensor = self.body(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K): one logit per class."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


def features(network: Network, images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, D): the input of the classifier of `network`."""
    return network.features(images)


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, K): one logit of `network` per class."""
    outputs: Tensor = network(images)
    return outputs


class FlatNetwork:
    """A network as a function of all of its parameters, in one vector (P,)."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network.requires_grad_(False)
        named = dict(network.named_parameters())
        self._names, self._shapes = [*named], [tensor.shape for tensor in named.values()]

    @property
    def random(self) -> bool:
        """Whether it gives other outputs each time."""
        return any(type(one).__name__.startswith(RANDOM) for one in self._network.modules())

    @property
    def start(self) -> Tensor:
        """(P,): the parameters that the network has of its own."""
        return nn.utils.parameters_to_vector(self._network.parameters()).detach()

    def __call__(self, theta: Tensor, images: Tensor) -> Tensor:
        """(P,), (B, C, H, W) -> logits (B, K)."""
        pieces = theta.split([shape.numel() for shape in self._shapes])
        views = [piece.view(shape) for piece, shape in zip(pieces, self._shapes, strict=True)]
        outputs: Tensor = functional_call(
            self._network, dict(zip(self._names, views, strict=True)), (images,)
        )
        return outputs


def centered(size: int, least: int) -> list[nn.Module]:
    """The layer that zero-pads images of `size` pixels to `least`; none for larger images.

    >>> centered(28, 32), centered(64, 32)
    ([ZeroPad2d((2, 2, 2, 2))], [])
    """
    missing = max(least - size, 0)
    before, after = missing // 2, missing - missing // 2
    return [nn.ZeroPad2d((before, after, before, after))] if missing else []


def shapes_only(module: nn.Module, shape: tuple[int, ...]) -> Any:
    """What `module` returns for a batch of `shape` on torch's meta device; nothing is computed.

    Gradients flow to copies of all parameters, frozen ones too.
    """
    state = {name: buffer.to("meta") for name, buffer in module.named_buffers()}
    for name, parameter in module.named_parameters():
        state[name] = parameter.detach().to("meta").requires_grad_()
    with torch.device("meta"):
        return functional_call(module, state, (torch.empty(shape),))
