"""How far things are, on stderr: bars on a terminal, a line now and then elsewhere."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import typer

from d3data.cli.output import say
from d3data.utils.text import duration

if TYPE_CHECKING:
    from rich.progress import TaskID

    from d3data.utils.progress import Progress, ReportProgress

EVERY = 10.0  # seconds between two lines about one job


class Lines:
    """A line about each job now and then, with the time that its stage still takes."""

    def __init__(self) -> None:
        self._began: dict[tuple[str, str], tuple[float, int]] = {}
        self._said: dict[str, float] = {}

    def step(self, job: str, at: "Progress") -> None:
        now = time.monotonic()
        since, first = self._began.setdefault((job, at.stage), (now, at.step))
        if now - self._said.setdefault(job, now) < EVERY:
            return
        self._said[job] = now
        left = ""
        if at.step > first:
            rest = (now - since) / (at.step - first) * (at.steps - at.step)
            left = f", {duration(rest)} left"
        say(f"{_name(job, at)} {at.step}/{at.steps}{_loss(at)}{left}")

    def whole(self, at: "Progress") -> None:
        self.step("", replace(at, stage="all", loss=None))

    def finish(self, job: str, done: int, total: int) -> None:
        say(f"{job} is done ({done} of {total})")

    def close(self) -> None:
        pass


class LiveBars:
    """A bar for each job that is running, and one for all of them."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bars = progress.Progress(
            "{task.description}",
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            "{task.fields[loss]}",
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._bars.start()
        self._jobs: dict[str, tuple[TaskID, str]] = {}
        self._whole: TaskID | None = None

    def step(self, job: str, at: "Progress") -> None:
        bar, stage = self._jobs.get(job, (None, ""))
        if bar is None or stage != at.stage:
            if bar is not None:
                self._bars.remove_task(bar)
            bar = self._bars.add_task(_name(job, at), total=at.steps, loss="")
            self._jobs[job] = bar, at.stage
        self._bars.update(bar, completed=at.step, loss=_loss(at).lstrip(", "))

    def whole(self, at: "Progress") -> None:
        """One bar for all stages, which is called what is going on."""
        self.step("", replace(at, stage="all"))
        self._bars.update(self._jobs[""][0], description=f"all ({at.stage})")

    def finish(self, job: str, done: int, total: int) -> None:
        if job in self._jobs:
            self._bars.remove_task(self._jobs.pop(job)[0])
        if self._whole is None:
            self._whole = self._bars.add_task("all", total=total, loss="")
        self._bars.update(self._whole, completed=done)

    def close(self) -> None:
        self._bars.stop()


class Display:
    """Shows how far things are while it is entered.

    `stopped` is what to tell after a Ctrl-C, which ends the command with 130. Where the steps of
    all stages together are known, `total`, there is one bar for the whole, without those that are
    kept before the first one.
    """

    def __init__(self, stopped: str = "", *, total: int = 0) -> None:
        self._stopped, self._total = stopped, total
        self._stages: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._shown: Lines | LiveBars = LiveBars() if sys.stderr.isatty() else Lines()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._shown.close()
        if kind is KeyboardInterrupt:
            say(f"stopped; {self._stopped}" if self._stopped else "stopped")
            raise typer.Exit(130) from None

    def show(self, at: "Progress") -> None:
        """Something got on, or happened in a run."""
        if at.event == "kept" and not self._stages:
            self._total = max(0, self._total - at.steps)
        elif at.event == "step" and self._total:
            self._stages[at.stage] = at.step
            done = min(self._total, sum(self._stages.values()))
            self._shown.whole(replace(at, step=done, steps=self._total))
        elif at.event == "step":
            self._shown.step(at.job or "", at)
        elif at.event == "done":
            self._shown.finish(at.job or "", at.step, at.steps)
        elif at.event == "planned" and at.step == at.steps:
            say("already finished: no job is left to do")
        elif at.event in ("failed", "note", "planned"):
            say(f"{at.job}: {at.message}" if at.job else at.message)


@contextlib.contextmanager
def telling(stopped: str) -> "Iterator[None]":
    """After a Ctrl-C, which ends the command with 130, tell `stopped`."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped; {stopped}" if stopped else "stopped")
        raise typer.Exit(130) from None


@contextlib.contextmanager
def stoppable(step: "ReportProgress", defers: bool = True) -> "Iterator[ReportProgress]":
    """Yields `step`; a first Ctrl-C stops after it, when all can be saved, a second at once.

    Without `defers`, the first does too, as others see to saving.
    """
    if not defers:
        yield step
        return
    asked = list[int]()

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        os.write(
            2, b"stopping after this step; Ctrl-C again stops at once\n"
        )  # say may be at work
        signal.signal(signal.SIGINT, before)

    def checked(progress: "Progress") -> None:
        step(progress)
        if asked:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield checked
    finally:
        signal.signal(signal.SIGINT, before)


def _name(job: str, at: "Progress") -> str:
    return f"{job}: {at.stage}" if job else at.stage


def _loss(at: "Progress") -> str:
    return "" if at.loss is None else f", loss {at.loss:.4g}"
