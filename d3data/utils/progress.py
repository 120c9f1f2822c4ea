"""Progress reports: how far a stage of some work is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`step` of the `steps` of a stage is done; `loss` is that of the step, where it has one."""

    stage: str
    step: int
    steps: int
    loss: float | None = None


ReportProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Report nothing."""


def after_each_step(
    report: ReportProgress, stage: str, steps: int
) -> Callable[[int, float], None]:
    """A watch for `d3data.nets.training.descend` that reports every step of a stage."""
    return lambda step, loss: report(Progress(stage, step + 1, steps, loss))
