"""A network that is trained while a source is distilled."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import NetworkSpec
from d3data.nets.network import Network
from d3data.utils.device import move

Stepped = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


class Pupil:
    """A network with its optimizer, and its age in steps: `context.keep` makes it outlive yields.

    Attributes:
        network: updated in place, so that compiled passes through it stay valid.
        age: how many steps it has taken since it was renewed.
    """

    def __init__(self, spec: NetworkSpec, context: ObjectiveContext, optimizer: Stepped) -> None:
        self._spec, self._task, self._device = spec, context.task, context.device
        self.network = self._fresh(0)
        self.parameters = list(self.network.parameters())
        self.optimizer, self.age = optimizer(self.parameters), 0

    def renew(self, rng: torch.Generator, *, age: int = 0) -> None:
        """Begin anew: other weights, and an optimizer that remembers nothing."""
        seed = int(torch.randint(2**62, (), generator=rng))
        self.network.load_state_dict(self._fresh(seed).state_dict())
        self.optimizer.state.clear()
        self.age = age

    def step(self, loss: Tensor) -> None:
        """Take one step down `loss`, whose gradients reach this network and nothing else."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=self.parameters)
        self.optimizer.step()
        self.age += 1

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "age": self.age,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.age = state["age"]

    def _fresh(self, seed: int) -> Network:
        network = move(self._spec.build(self._task, seed), self._device)
        assert isinstance(network, Network)
        return network
