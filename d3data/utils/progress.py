"""Progress reports: the one record that every `progress=` is called with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from d3data.utils.renamed import warn

Event = Literal["step", "planned", "done", "failed", "note", "written", "kept"]


@dataclass(frozen=True)
class Progress:
    """How far some work is.

    Attributes:
        stage: what is being done, such as "warm start", "standard" or "export".
        step: how many of its steps are done.
        steps: how many there are; 0 where nobody knows.
        loss: of the step, where it has one.
        job: which job of a run, where a run has several.
        event: "step"; or what else happened: jobs were "planned" or are "done", an attempt at one
            "failed" (there may be others), the artifact is "written", what an evaluation trained
            before it was stopped is "kept", or a "note" for the user. Of a run the steps are then
            its jobs.
        message: what to tell the user, where there is something.
    """

    stage: str
    step: int = 0
    steps: int = 0
    loss: float | None = None
    job: str | None = None
    event: Event = "step"
    message: str = ""

    @property
    def what(self) -> str:
        """The event under its old name: "progress" for a step."""
        warn("what", "event", stacklevel=2)
        return "progress" if self.event == "step" else self.event

    @property
    def progress(self) -> "Progress | None":
        """The record itself, if it is of a step: once it held another one."""
        warn("event.progress", "the record itself", stacklevel=2)
        return self if self.event == "step" else None

    @property
    def done(self) -> int:
        """`step` under its old name: how many jobs of a run are done."""
        warn("done", "step", stacklevel=2)
        return self.step

    @property
    def total(self) -> int:
        """`steps` under its old name: how many jobs a run has."""
        warn("total", "steps", stacklevel=2)
        return self.steps


ReportProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Report nothing."""


def after_each_step(
    report: ReportProgress, stage: str, steps: int
) -> Callable[[int, float], None]:
    """A watch for `d3data.nets.training.descend` that reports every step of a stage."""
    return lambda step, loss: report(Progress(stage, step + 1, steps, loss))
