"""The one loop that trains anything: sources, warm starts, experts, teachers and trials."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from d3data.errors import TrainingError

SECONDS = 0.5  # that losses stay on a device at least, for reading one waits until it is there

Watch = Callable[[int, float], None]


def ignore(step: int, loss: float) -> None:
    """A watch that does nothing."""


class Unread:
    """Losses on their device, from step `start` on, until `watch` is told of them.

    On the CPU that is at once. Elsewhere it is twice a second at most, for all that came since.
    """

    def __init__(self, watch: Watch, *, start: int, steps: int, lower: str) -> None:
        self._watch, self._next, self._steps, self._lower = watch, start, steps, lower
        self._losses: list[Tensor] = []
        self._last = time.monotonic()

    def add(self, loss: Tensor) -> None:
        self._losses.append(loss.detach())
        if loss.device.type == "cpu" or time.monotonic() - self._last >= SECONDS:
            self.read()

    def read(self) -> None:
        """Tell `watch` of every loss; or TrainingError where one is not finite."""
        losses = torch.stack(self._losses).tolist() if self._losses else []
        self._losses.clear()
        self._last = time.monotonic()
        for loss in losses:
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at step {self._next} of {self._steps}: "
                    f"lower {self._lower}"
                )
            self._watch(self._next, loss)
            self._next += 1


class Deferred:
    """A watch whose KeyboardInterrupt waits until the step is over: then `asked` is true."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self.asked = watch, False

    def __call__(self, step: int, loss: float) -> None:
        try:
            self._watch(step, loss)
        except KeyboardInterrupt:
            self.asked = True


After = Callable[[int, Unread], None]


def descend(
    losses: Iterable[Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    start: int = 0,
    steps: int,
    watch: Watch = ignore,
    after: After | None = None,
    lower: str = "the learning rates",
) -> None:
    """Take one optimizer step for each loss, from step `start` up to `steps`.

    The optimizers step between two losses that the iterator yields. Parameters that a loss does
    not depend on have no gradient and stay as they are. `watch(step, loss)` is told of every
    step, on an accelerator up to half a second late; `after(step, unread)` is called right after
    it, and may have the losses read that `watch` has not been told of.
    `lower` is what to lower where losses stop being finite.

    Raises:
        TrainingError: a loss is not finite, or the losses end before `steps`.
    """
    stream, unread = iter(losses), Unread(watch, start=start, steps=steps, lower=lower)
    for step in range(start, steps):
        loss = next(stream, None)
        if loss is None:
            unread.read()
            raise TrainingError(f"the losses ended at step {step} of {steps}")
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        unread.add(loss)
        if after is not None:
            after(step, unread)
    unread.read()


def cosine(step: int, steps: int) -> float:
    """The factor on a learning rate: half a cosine from 1 to 0.

    >>> [round(cosine(step, 4), 2) for step in range(5)]
    [1.0, 0.85, 0.5, 0.15, 0.0]
    """
    return 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))


def scheduled(
    losses: Iterator[Tensor],
    optimizer: torch.optim.Optimizer,
    factor: Callable[[int], float],
    *,
    start: int = 0,
) -> Iterator[Tensor]:
    """Yield `losses`; before step t, each group's rate is set to its initial rate x factor(t).

    The rate depends on the step alone, so a restart has no schedule to restore.
    """
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    for step, loss in enumerate(losses, start):
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor(step)
        yield loss
