"""Executors do the jobs of a run; this module has the one that works in this process.

An executor is anything with a method `run`. All share `Retries`: a `D3DataError` is final, since
trying again would not help; any other failure, a killed worker included, costs one attempt.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from d3data.distill.jobs import Job, Load, loader, perform
from d3data.distill.progress import JobProgress, throttled
from d3data.errors import D3DataError, JobError


@dataclass(frozen=True)
class Done:
    """A job is done."""

    job: Job


@dataclass(frozen=True)
class Failed:
    """One attempt at a job failed; there will be another unless it was the `last`."""

    job: Job
    error: D3DataError
    attempt: int
    last: bool


Watch = Callable[[Job, JobProgress], None]
Outcomes = Generator[Done | Failed, None, None]


class Executor(Protocol):
    """Does jobs in any order, and yields the outcome of each."""

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        """Do the jobs; `watch` is called in the caller's thread with their progress."""
        ...


class CrashError(Exception):
    """A worker died, or raised what is not a `D3DataError`; `trace` is its traceback."""

    def __init__(self, message: str, *, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


@dataclass(frozen=True)
class Retries:
    """How often a job is tried, and the seconds before the second attempt, doubled each time."""

    attempts: int = 3
    pause: float = 2.0

    def outcomes(
        self, job: Job, attempt_once: Callable[[], None], wait: Callable[[float], Any] = time.sleep
    ) -> Iterator[Done | Failed]:
        """Call `attempt_once` until it succeeds, raises a `D3DataError`, or fails too often."""
        for attempt in range(1, self.attempts + 1):
            try:
                attempt_once()
            except Exception as failure:
                final = isinstance(failure, D3DataError)
                last = final or attempt == self.attempts
                error = failure if isinstance(failure, D3DataError) else _job_error(job, failure)
                yield Failed(job, error, attempt, last)
                if last:
                    return
                wait(self.pause * 2 ** (attempt - 1))
            else:
                yield Done(job)
                return


DEFAULT = Retries()


@dataclass(frozen=True)
class Inline:
    """Does one job after the other in this process; `load` loads their task."""

    retries: Retries = DEFAULT
    load: Load | None = None

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        """Do the jobs in their order."""
        load = self.load or loader()
        try:
            for job in jobs:
                report = throttled(partial(_report, watch, job))
                yield from self.retries.outcomes(job, partial(perform, job, report, load))
        except _WatchError as failure:
            raise failure.cause from None


class _WatchError(BaseException):
    """The caller's `watch` raised `cause`; not an `Exception`, as the job is not to be blamed."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _report(watch: Watch, job: Job, progress: JobProgress) -> None:
    try:
        watch(job, progress)
    except Exception as failure:
        raise _WatchError(failure) from failure


def _job_error(job: Job, failure: Exception) -> JobError:
    error = JobError(f"{job.name} failed: {failure}")
    error.__cause__ = failure
    if isinstance(failure, CrashError) and failure.trace:
        error.add_note(failure.trace)
    return error
