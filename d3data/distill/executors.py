"""Who does the jobs of a run.

An executor is anything with `run`. Retries are ours, so that every executor behaves alike: an
error of ours says that trying again would not help; whatever else ends an attempt, a worker that
was killed included, costs that attempt and nothing else.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from d3data.distill.jobs import Job, loader, perform
from d3data.distill.progress import Progress, seldom
from d3data.errors import D3DataError, JobError

REPORT_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class Done:
    """A job's result is there."""

    job: Job


@dataclass(frozen=True)
class Failed:
    """One attempt at a job failed; there will be another unless it was the `last`."""

    job: Job
    error: D3DataError
    attempt: int
    last: bool


Watch = Callable[[Job, Progress], None]
Outcomes = Generator[Done | Failed, None, None]


class Executor(Protocol):
    """Does jobs, in any order, and tells of each how it went."""

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        """Do the jobs; `watch` is called, in the caller's thread, as they get on."""
        ...


class CrashError(Exception):
    """A worker died, or met a fault that is not an error of ours; `trace` is its traceback."""

    def __init__(self, message: str, *, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


@dataclass(frozen=True)
class Retries:
    """How often a job is tried, and the seconds before the second attempt, doubled each time."""

    attempts: int = 3
    pause: float = 2.0

    def outcomes(
        self, job: Job, once: Callable[[], None], wait: Callable[[float], Any] = time.sleep
    ) -> Iterator[Done | Failed]:
        """Call `once` until it succeeds, fails with an error of ours, or has failed too often."""
        for attempt in range(1, self.attempts + 1):
            try:
                once()
            except Exception as failure:
                ours = isinstance(failure, D3DataError)
                last = ours or attempt == self.attempts
                error = failure if isinstance(failure, D3DataError) else _crash(job, failure)
                yield Failed(job, error, attempt, last)
                if last:
                    return
                wait(self.pause * 2 ** (attempt - 1))
            else:
                yield Done(job)
                return


USUAL = Retries()


@dataclass(frozen=True)
class Inline:
    """Does one job after the other in this process."""

    retries: Retries = USUAL

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        """Do the jobs in their order."""
        load = loader()
        try:
            for job in jobs:
                report = seldom(partial(_show, watch, job), seconds=REPORT_EVERY)
                yield from self.retries.outcomes(job, partial(perform, job, report, load))
        except _WatchFailed as failure:
            raise failure.why from None


class _WatchFailed(BaseException):
    """The caller's own `watch` failed, which is no fault of the job that it was called in."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


def _show(watch: Watch, job: Job, progress: Progress) -> None:
    try:
        watch(job, progress)
    except Exception as failure:
        raise _WatchFailed(failure) from failure


def _crash(job: Job, failure: Exception) -> JobError:
    error = JobError(f"{job.name} failed: {failure}")
    error.__cause__ = failure
    if isinstance(failure, CrashError) and failure.trace:
        error.add_note(failure.trace)
    return error
