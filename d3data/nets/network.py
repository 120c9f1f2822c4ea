"""What every network is: a body that turns images into features, and a linear layer on top."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Network(nn.Module):
    """A body and the linear layer that reads its features.

    Matching methods and audits look at `features`; experts and trials train the whole.

    Args:
        body: (B, C, H, W) -> (B, D).
        classifier: (B, D) -> (B, K).
    """

    def __init__(self, body: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.body, self.classifier = body, classifier

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): what the classifier reads."""
        features: Tensor = self.body(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K): one logit per class."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


def features(network: Network, images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, D): what the classifier of `network` reads."""
    return network.features(images)


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, K): one logit of `network` per class."""
    answers: Tensor = network(images)
    return answers


def centered(size: int, least: int) -> list[nn.Module]:
    """Zeros around images of `size` pixels that make them `least` pixels; none for larger ones.

    >>> centred(28, 32)
    [ZeroPad2d((2, 2, 2, 2))]
    >>> centred(64, 32)
    []
    """
    lacking = max(least - size, 0)
    before, after = lacking // 2, lacking - lacking // 2
    return [nn.ZeroPad2d((before, after, before, after))] if lacking else []


def shapes_only(module: nn.Module, shape: tuple[int, ...]) -> Any:
    """What `module` returns for a batch of `shape`, on torch's meta device: nothing is computed.

    Gradients flow to stand-ins of all parameters, whether or not these are frozen.
    """
    state = {name: buffer.to("meta") for name, buffer in module.named_buffers()}
    for name, parameter in module.named_parameters():
        state[name] = parameter.detach().to("meta").requires_grad_()
    with torch.device("meta"):
        return functional_call(module, state, (torch.empty(shape),))
