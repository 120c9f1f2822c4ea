"""The seam that every method implements, and what several of them need."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from d3data.distill.context import Workbench
from d3data.distill.experts import ExpertPlan
from d3data.sources.base import Source


class Objective(Protocol):
    """A method as a stream of losses.

    Frozen and validated: its fields are its configuration. Between two losses that `losses`
    yields, the engine has taken one step on the source. Three rules make a stream restartable
    at any step, exactly: random numbers come from `bench.rng(stream, step)`; what must outlive
    a yield is held through `bench.keep` and renewed in place; nothing comes after the yield.
    """

    @property
    def experts(self) -> ExpertPlan | None:
        """The trajectories that the method asks for."""
        ...

    def losses(self, source: Source, bench: Workbench) -> Iterator[Tensor]:
        """Yield one loss (scalar) per step, from `bench.start` to `bench.steps`."""
        ...


def steps(bench: Workbench) -> range:
    """The steps that a stream has to yield."""
    return range(bench.start, bench.steps)


def draws_of_classes(classes: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """(K, count) items, `count` of each class: its items in random order, as evenly as it goes."""
    rows = []
    for label in classes.unique():
        items = torch.nonzero(classes.cpu() == label.cpu()).flatten()
        turns = [
            items[torch.randperm(len(items), generator=rng)]
            for _ in range(-(-count // len(items)))
        ]
        rows.append(torch.cat(turns)[:count])
    return torch.stack(rows)


def real_of_classes(bench: Workbench, count: int, rng: torch.Generator) -> Tensor:
    """(K, count, C, H, W): `count` real training images of each class."""
    labels = range(len(bench.task.classes))
    batches = [bench.task.train.batch(count, of=label, rng=rng)[0] for label in labels]
    return torch.stack(batches).to(bench.device)
