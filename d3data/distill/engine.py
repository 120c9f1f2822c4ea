"""The whole engine: an objective yields losses, optimizers step down them."""

from collections.abc import Sequence

import torch

from d3data.distill.context import Workbench
from d3data.distill.objectives.base import Objective
from d3data.nets.training import Watch, descend, ignore
from d3data.sources.base import Source


def distill(
    source: Source,
    objective: Objective,
    bench: Workbench,
    optimizers: Sequence[torch.optim.Optimizer],
    watch: Watch = ignore,
) -> None:
    """Train `source` on `objective` from `bench.start` to `bench.steps`.

    Raises:
        TrainingError: a loss is not finite, or the objective ends early.
    """
    losses = objective.losses(source, bench)
    descend(losses, optimizers, start=bench.start, steps=bench.steps, watch=watch)
