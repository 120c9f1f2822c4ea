"""Where the trials of one report are made: all rows share everything but what is trained on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from d3data.dataset import DistilledDataset
from d3data.errors import TrainingError
from d3data.evaluation import trials
from d3data.evaluation.baselines import Baseline
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.report import Row
from d3data.evaluation.trials import Draws, Trial
from d3data.rng import generator
from d3data.tasks import Split, Task


class Progress(NamedTuple):
    """`step` of `steps` is done in training the network that `stage` names."""

    stage: str
    step: int
    steps: int
    loss: float


def ignore(progress: Progress) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class Bench:
    """The real images, the protocol, the seeds and the device of a report."""

    task: Task
    tests: Split
    protocol: Protocol
    seeds: tuple[int, ...]
    device: torch.device
    progress: Callable[[Progress], None]

    def distilled(self, draws: Draws) -> Row:
        """Train every network on `draws`."""
        ledger = draws.ledger if isinstance(draws, DistilledDataset) else None
        return Row.of(
            "distilled",
            self._trials("distilled", lambda seed: draws),
            images_per_class=None,
            values=ledger.published_values if ledger else None,
            stored=ledger.content_bytes if ledger else None,
        )

    def real(self, name: str, choose: Baseline, per_class: int) -> Row:
        """Train every network on its own choice of `per_class` real images of each class."""
        train, task = self.task.train, self.task
        values = per_class * len(task.classes) * task.channels * task.size**2
        return Row.of(
            name,
            self._trials(
                name, lambda seed: choose(train, per_class, rng=generator(seed, "baseline", name))
            ),
            images_per_class=per_class,
            values=values,
            stored=values,
        )

    def _trials(self, name: str, make: Callable[[int], Draws]) -> list[Trial]:
        count = len(self.seeds)
        return [
            self._trial(f"{name}, network {number} of {count}", make(seed), seed)
            for number, seed in enumerate(self.seeds, 1)
        ]

    def _trial(self, stage: str, draws: Draws, seed: int) -> Trial:
        steps = self.protocol.length(len(draws))

        def watch(step: int, loss: torch.Tensor) -> None:
            self.progress(Progress(stage, step + 1, steps, loss.item()))

        try:
            return trials.run(
                draws,
                self.task,
                self.tests,
                protocol=self.protocol,
                seed=seed,
                device=self.device,
                watch=watch,
            )
        except TrainingError as failure:
            raise TrainingError(
                f"{stage} (seed {seed}): {failure}; {self.protocol.name} trains at "
                f"{self.protocol.learning_rate:g}: where that must stay, distil the set again "
                "with lower ones"
            ) from failure
