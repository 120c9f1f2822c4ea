"""The one loop that trains anything: sources, warm starts, experts, teachers and trials."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from d3data.errors import TrainingError

Watch = Callable[[int, Tensor], None]


def ignore(step: int, loss: Tensor) -> None:
    """A watch that does nothing."""


def descend(
    losses: Iterable[Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    start: int = 0,
    steps: int,
    watch: Watch = ignore,
    lower: str = "the learning rates",
) -> None:
    """Take one optimizer step for each loss, from step `start` up to `steps`.

    The optimizers step between two losses that the iterator yields. Parameters that a loss does
    not depend on have no gradient and stay as they are. `watch(step, loss)` is called after each
    step. `lower` is what to lower where losses stop being finite.

    Raises:
        TrainingError: a loss is not finite, or the losses end before `steps`.
    """
    stream = iter(losses)
    for step in range(start, steps):
        loss = next(stream, None)
        if loss is None:
            raise TrainingError(f"the losses ended at step {step} of {steps}")
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {step} of {steps}: lower {lower}"
            )
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        watch(step, loss.detach())


def cosine(step: int, steps: int, *, warmup: int = 0) -> float:
    """The factor on a learning rate: linear warm-up, then half a cosine from 1 to 0.

    >>> [round(cosine(step, 4), 2) for step in range(5)]
    [1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


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
