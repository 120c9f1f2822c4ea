"""A stage of a subtask: a stretch of steps that can be resumed at every one of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import Experts
from d3data.distill.progress import JobProgress, MetricsLog
from d3data.distill.recipe import Recipe
from d3data.images.tasks import Task
from d3data.nets.checkpoint import Checkpoint, Saved, Stateful
from d3data.nets.training import cosine, descend, scheduled


@dataclass(frozen=True)
class Setting:
    """What all stages of one subtask work with."""

    recipe: Recipe
    task: Task
    seed: int
    device: torch.device
    experts: Experts | None = None

    def context(self, stage: "Stage") -> ObjectiveContext:
        """The context of a stage, from the step that it goes on with."""
        return ObjectiveContext(
            self.task,
            seed=self.seed,
            steps=stage.steps,
            experts=self.experts,
            device=self.device,
            compute=self.recipe.compute,
            start=stage.start,
            restored=stage.saved.within("kept/") if stage.saved else None,
        )


@dataclass(frozen=True)
class Stage:
    """So many steps of a subtask, saved from time to time.

    `saved` is the checkpoint that it goes on from, None at its beginning.
    """

    name: str
    steps: int
    checkpoint: Checkpoint
    journal: MetricsLog
    saved: Saved | None

    @property
    def start(self) -> int:
        """The step that it goes on with."""
        return self.saved.step if self.saved else 0

    def restore(self, objects: Mapping[str, Stateful]) -> None:
        """Give the objects the state that they had when the stage was left."""
        if self.saved:
            for name, thing in objects.items():
                thing.load_state_dict(self.saved.states[name])

    def save(self, step: int, objects: Mapping[str, Stateful]) -> None:
        """Save the objects as they are before `step`."""
        self.checkpoint.save(self.name, step, {**objects, "journal": self.journal})

    def train(
        self,
        losses: Iterator[Tensor],
        optimizers: Sequence[torch.optim.Optimizer],
        decayed: Sequence[torch.optim.Optimizer],
        objects: Callable[[], Mapping[str, Stateful]],
    ) -> None:
        """Take the steps that are left; save `objects()` when a checkpoint is due.

        Args:
            losses: from `start` on.
            optimizers: all that step.
            decayed: those of them whose learning rate falls to 0 along half a cosine.
            objects: what a checkpoint holds.
        """

        def watch(step: int, loss: Tensor) -> None:
            self.journal.add(JobProgress(self.name, step + 1, self.steps, loss.item()))
            if self.checkpoint.due:
                self.save(step + 1, objects())

        for optimizer in decayed:
            losses = scheduled(losses, optimizer, self._cosine, start=self.start)
        descend(losses, optimizers, start=self.start, steps=self.steps, watch=watch)

    def _cosine(self, step: int) -> float:
        return cosine(step, self.steps)
