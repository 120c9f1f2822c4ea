"""The engine: an objective yields losses, optimizers step down them, resumable at every step."""

import errno
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import Experts
from d3data.distill.recipe import Recipe
from d3data.distill.straight_through import as_distilled
from d3data.errors import RunError
from d3data.images.tasks import Task
from d3data.nets.checkpoint import Checkpoint, Saved, Stateful
from d3data.nets.training import Deferred, Unread, descend, scheduled
from d3data.sources.base import Source
from d3data.utils.atomic import is_full
from d3data.utils.progress import Progress, ReportProgress

START: Mapping[str, float] = {"bytes": 0, "seconds": 0.0}  # the state of an empty log


class MetricsLog:
    """Appends a line to the file at `path` for every step: stage, step, loss, seconds of work.

    It has a state that is part of the checkpoint: restoring it cuts off the lines of the steps
    that will be taken again.
    """

    def __init__(self, path: Path, report: ReportProgress) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._report = path, report
        self._file = path.open("ab", buffering=0)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def seconds(self) -> float:
        """The seconds of work so far, those before restarts included."""
        return time.monotonic() - self._began

    def add(self, progress: Progress) -> None:
        values = {name: getattr(progress, name) for name in ("stage", "step", "steps", "loss")}
        line = json.dumps(values | {"seconds": round(self.seconds, 3)}).encode() + b"\n"
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as failure:
            raise cannot_log(self.path, failure) from failure
        self._report(progress)

    def state_dict(self) -> dict[str, float]:
        """Bring all lines to the disk, and return their bytes and the seconds of work."""
        try:
            os.fsync(self._file.fileno())
        except OSError as failure:
            raise cannot_log(self.path, failure) from failure
        return {"bytes": self.path.stat().st_size, "seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut off what came after `state`; `START` empties the file."""
        self._file.truncate(min(int(state["bytes"]), self.path.stat().st_size))
        self._began = time.monotonic() - state["seconds"]


def cannot_log(path: Path, failure: OSError) -> RunError:
    """The error for a log that cannot be written."""
    remedy = "free some space" if is_full(failure) else "make the folder writable"
    return RunError(
        f"cannot write {path}: {failure.strerror}; {remedy} and repeat: the run resumes from its "
        "last checkpoint"
    )


@dataclass(frozen=True)
class Setting:
    """What all stages of one subtask work with; its `classes` are numbered as in the whole task.

    `weights` is the file that the recipe names for a generator.
    """

    recipe: Recipe
    task: Task
    seed: int
    device: torch.device
    experts: Experts | None = None
    classes: tuple[int, ...] = ()
    weights: Path | None = None

    def context(self, stage: "Stage") -> ObjectiveContext:
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
    """So many steps of a subtask; `saved` is the checkpoint that they go on from, if any."""

    name: str
    steps: int
    checkpoint: Checkpoint
    journal: MetricsLog
    saved: Saved | None

    @property
    def start(self) -> int:
        return self.saved.step if self.saved else 0

    def restore(self, objects: Mapping[str, Stateful]) -> None:
        if self.saved:
            for name, thing in objects.items():
                thing.load_state_dict(self.saved.states[name])

    def save(self, step: int, objects: Mapping[str, Stateful]) -> None:
        self.checkpoint.save(self.name, step, {**objects, "journal": self.journal})

    def train(
        self,
        losses: Iterator[Tensor],
        optimizers: Sequence[torch.optim.Optimizer],
        schedules: Mapping[torch.optim.Optimizer, Callable[[int, int], float]],
        objects: Callable[[], Mapping[str, Stateful]],
    ) -> None:
        """Take the steps that are left; `schedules` are factors on rates, of (step, steps).

        A KeyboardInterrupt that the journal's report raises leaves a checkpoint behind.
        """
        watch = Deferred(
            lambda step, loss: self.journal.add(Progress(self.name, step + 1, self.steps, loss))
        )

        def after(step: int, unread: Unread) -> None:
            if self.checkpoint.due or watch.asked:
                unread.read()
                self.save(step + 1, objects())
            if watch.asked:
                raise KeyboardInterrupt

        for optimizer, factor in schedules.items():
            at = partial(_at, factor, self.steps)
            losses = scheduled(losses, optimizer, at, start=self.start)
        table = "warm_start" if self.name == "warm start" else "optimizers.*"
        lower = f"{table}.learning_rate in the recipe (stage {self.name})"
        steps: Any = {"start": self.start, "steps": self.steps}
        descend(losses, optimizers, **steps, watch=watch, after=after, lower=lower)


def optimize(source: Source, stage: Stage, setting: Setting, *, rounded: bool = False) -> None:
    """Take one stage of a recipe; if `rounded`, on what storing leaves of the source."""
    recipe, context = setting.recipe, setting.context(stage)
    assert recipe.objective is not None
    parameters, specs = source.train_only(recipe.optimizers), recipe.optimizers
    optimizers = {purpose: spec.build(parameters[purpose]) for purpose, spec in specs.items()}

    def objects() -> dict[str, Stateful]:
        stepping = {f"optimizers/{purpose}": o for purpose, o in optimizers.items()}
        kept = {f"kept/{name}": thing for name, thing in context.kept.items()}
        return {"source": source, **stepping, **kept}

    stage.restore(objects())
    if stage.saved is None:
        stage.save(0, objects())
    for optimizer in optimizers.values():
        optimizer.register_step_post_hook(lambda *_: source.confine())
    changing = [purpose for purpose in specs if specs[purpose].schedule != "constant"]
    schedules = {optimizers[purpose]: specs[purpose].rate_at for purpose in changing}
    seen = as_distilled(source, recipe, rounded=rounded)
    losses = recipe.objective.losses(seen, context)
    stage.train(losses, list(optimizers.values()), schedules, objects)
    recipe.objective.finish(seen, context)


def _at(factor: Callable[[int, int], float], steps: int, step: int) -> float:
    return factor(step, steps)
