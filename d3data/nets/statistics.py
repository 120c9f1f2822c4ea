"""Running statistics of norms, estimated again where training was too short for them.

A norm of momentum m keeps (1 - m)^t of the statistics that it was made with, a mean of 0 and a
variance of 1, whatever t batches show. Where the momentum is small (0.01 in MobileNetV3, 0.0003 in
MNASNet) or the variance far below 1 (late layers of EfficientNet), the network is tested with
other statistics than it was trained with, and guesses. Averages over a few batches, through the
network as it is in the end, mend that: Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm",
arXiv 2105.07576.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

DRAWS = 2048  # images that are enough for new statistics
MOST_LEFT = 0.05  # of a norm's statistics may be the initial ones


class RunningStatistics:
    """The norms of a network that have running statistics; to be made before it is trained."""

    def __init__(self, network: nn.Module) -> None:
        layers: list[Any] = [one for one in network.modules() if hasattr(one, "momentum")]
        self.norms = [x for x in layers if isinstance(getattr(x, "running_var", None), Tensor)]
        self._network, self._before = network, [*map(_batches, self.norms)]

    def unsettled(self, steps: int) -> list[Any]:
        """All norms that were trained, if one still has much of its initial statistics; or none.

        `steps` are the batches that the network was trained on.
        """
        counts = [
            steps if before is None else (_batches(norm) or 0) - before
            for norm, before in zip(self.norms, self._before, strict=True)
        ]
        trained = [(norm, count) for norm, count in zip(self.norms, counts, strict=True) if count]
        late = any(_initial_share(*one) > MOST_LEFT for one in trained)
        return [norm for norm, _ in trained] if late else []

    def estimate(self, norms: Sequence[Any], batches: Iterable[Tensor]) -> None:
        """Give these norms the averages over batches (B, C, H, W); the network is then in `eval`.

        All other layers are as in a test, so nothing is drawn.
        """
        momenta = [norm.momentum for norm in norms]
        self._network.eval()
        with torch.no_grad():
            for number, images in enumerate(batches, 1):
                for norm in norms:
                    norm.train()
                    norm.momentum = 1 / number
                self._network(images)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """At the end of the block, all statistics are again those of its beginning."""
        buffers = [buffer for norm in self.norms for buffer in norm.buffers()]
        before = [buffer.clone() for buffer in buffers]
        try:
            yield
        finally:
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)


def _batches(norm: Any) -> int | None:
    """How many batches a norm has seen in training; None where it does not count them."""
    counts = isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.track_running_stats
    return int(norm.num_batches_tracked) if counts else None


def _initial_share(norm: Any, batches: int) -> float:
    """How much of a norm's statistics is still the initial one: of the median channel."""
    if norm.momentum is None:  # it averages over all batches
        return 0.0
    return float(((1 - norm.momentum) ** batches / norm.running_var.clamp(max=1)).median())
