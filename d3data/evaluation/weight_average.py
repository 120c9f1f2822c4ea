"""The moving average of a network's weights, which some protocols test in their place.

Polyak, Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; as GLaD evaluates
(Cazenavette et al. 2023, arXiv 2305.01649).
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """After each step a <- decay a + (1 - decay) w, of weights and of norms' statistics.

    It begins as the weights before training.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self._average = {name: one.detach().clone() for name, one in self._now().items()}

    @torch.no_grad()
    def update(self) -> None:
        for name, one in self._now().items():
            self._average[name].lerp_(one, 1 - self._decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Give the network the average."""
        for name, one in self._now().items():
            one.copy_(self._average[name])

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Give the network the average in the block, and its own weights back."""
        before = {name: one.detach().clone() for name, one in self._now().items()}
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, one in self._now().items():
                    one.copy_(before[name])

    def state_dict(self) -> dict[str, Tensor]:
        return self._average

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, one in self._average.items():
            one.copy_(state[name])

    def _now(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self._network.state_dict()
        return {name: one for name, one in state.items() if one.is_floating_point()}
