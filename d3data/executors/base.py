"""What executors share: jobs, their outcomes, how often they are tried, and what is said of them.

An executor is anything with a method `run`. All share `Retries`: a `D3DataError` is final, since
trying again would not help; any other failure, a killed worker included, costs one attempt.
"""

import contextlib
import importlib
import json
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, Self

from pydantic import Field

from d3data import errors
from d3data.errors import D3DataError, JobError
from d3data.utils.lock import hold_range
from d3data.utils.progress import Progress, ReportProgress
from d3data.utils.schema import Frozen

PATIENCE = 10.0  # seconds that a worker has to end by itself
SAVING = 60.0  # seconds that it has to save the job it is at
LOCK = ".jobs"

Memory = dict[str, Any]  # what the jobs of one process keep for those that come after them
Message = Mapping[str, Any]  # {"progress": {...}}, {"done": true}, or {"failed": {...}}


class Job(Frozen):
    """A pure function of JSON, which writes its results as files, in `folder` if not said else.

    It may be killed at any moment and done again, by another process: a result is whole or not
    there. One that is done already has nothing to do.
    """

    name: str
    folder: Path
    device: str
    threads: int = Field(ge=1)

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files, and folders of files, that it must find, beside the real images."""
        return ()

    @property
    def writes(self) -> tuple[Path, ...]:
        """The files, and folders of files, that it writes, those that it adds to last."""
        return ()

    def perform(self, report: ReportProgress, memory: Memory) -> None:
        """Do it; a KeyboardInterrupt that `report` raises has it save what it can."""
        raise NotImplementedError

    def told(self) -> str:
        """The job as JSON for another process."""
        kind = type(self)
        return json.dumps([kind.__module__, kind.__qualname__, self.model_dump_json()])

    @staticmethod
    def heard(text: str | bytes) -> "Job":
        """The job that was told."""
        module, name, values = json.loads(text)
        job: Job = getattr(importlib.import_module(module), name).model_validate_json(values)
        return job


def do(job: Job, report: ReportProgress, memory: Memory) -> None:
    """Do a job in this process; no two attempts at it are ever made at the same time.

    A worker that was given up may still be at work, on a machine that was cut off.
    """
    with hold_range(job.folder / LOCK, job.name, patience=SAVING):
        job.perform(throttled(report), memory)


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


Watch = Callable[[Job, Progress], None]
Outcomes = Generator[Done | Failed, None, None]


class Executor(Protocol):
    """Does jobs in any order, and yields the outcome of each."""

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        """Do the jobs; `watch` is called in the caller's thread with their progress."""
        ...


class CrashError(Exception):
    """A worker died, or raised what is not a `D3DataError`; a note is its traceback."""


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
            except D3DataError as failure:
                yield Failed(job, failure, attempt, last=True)
                return
            except Exception as failure:
                last = attempt == self.attempts
                error = joined(JobError(f"{job.name} failed: {failure}"), failure)
                yield Failed(job, error, attempt, last)
                if not last:
                    wait(self.pause * 2 ** (attempt - 1))
            else:
                yield Done(job)
                return


DEFAULT = Retries()


def joined(error: JobError, *causes: Exception) -> JobError:
    """The error with the notes of its causes, which are traces."""
    error.__cause__ = causes[0]
    for trace in (note for cause in causes for note in getattr(cause, "__notes__", [])):
        error.add_note(trace)
    return error


def throttled(report: ReportProgress, *, seconds: float = 0.5) -> ReportProgress:
    """Report at most every so many seconds, but always a stage's first and last step."""
    stage, last = "", 0.0

    def limited(progress: Progress) -> None:
        nonlocal stage, last
        ends = progress.stage != stage or progress.step == progress.steps
        if ends or time.monotonic() - last >= seconds:
            stage, last = progress.stage, time.monotonic()
            report(progress)

    return limited


def crashed(how: str) -> Message:
    """The message that a worker died."""
    return {"failed": {"error": CrashError.__name__, "message": how, "trace": ""}}


def follow(messages: Generator[Message, None, None], report: ReportProgress) -> None:
    """Pass a job's progress on until it is done; raise what it failed with."""
    with contextlib.closing(messages):
        for message in messages:
            if "progress" in message:
                report(Progress(**message["progress"]))
            elif "failed" in message:
                raise _rebuilt(**message["failed"])
            elif "done" in message:
                return
    raise CrashError("it was stopped")


def _rebuilt(error: str, message: str, trace: str) -> Exception:
    kind = getattr(errors, error, None)
    if isinstance(kind, type) and issubclass(kind, D3DataError):
        return kind(message)
    crash = CrashError(message if error == CrashError.__name__ else f"{error}: {message}")
    if trace:
        crash.add_note(trace)
    return crash


class Hands:
    """Does attempts at jobs, each of which some thread waits for; `stop` is set at the end."""

    def __init__(self) -> None:
        self.stop = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of everything that jobs were done with."""

    def attempt(self, job: Job, report: ReportProgress) -> None:
        """One attempt; raises the job's D3DataError, or CrashError for anything else."""
        raise NotImplementedError

    def halt(self, patience: float) -> None:
        """End attempts that are under way, which have so many seconds to save."""
        raise NotImplementedError

    def run(self, jobs: Sequence[Job], at_once: int, retries: Retries, watch: Watch) -> Outcomes:
        """The outcomes of jobs that are done `at_once` at a time."""
        messages: SimpleQueue[Any] = SimpleQueue()

        def work(job: Job) -> None:  # sends (job, progress), outcomes, a fault of ours, and None
            once = partial(self.attempt, job, lambda at: messages.put((job, at)))
            try:
                for outcome in retries.outcomes(job, once, self.stop.wait):
                    messages.put(outcome)
                    if self.stop.is_set():
                        break
            except Exception as fault:
                messages.put(fault)
            finally:
                messages.put(None)

        pool, left, patience = ThreadPoolExecutor(at_once), len(jobs), SAVING
        with self:
            try:
                for job in jobs:
                    pool.submit(work, job)
                while left:
                    match messages.get():
                        case None:
                            left -= 1
                        case (job, progress):
                            watch(job, progress)
                        case Exception() as fault:
                            raise fault
                        case outcome:
                            yield outcome
                patience = PATIENCE
            finally:
                self.stop.set()
                self.halt(patience)
                pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Inline:
    """Does one job after the other in this process.

    Attributes:
        retries: how often a job is tried.
        memory: what the jobs find.
        threads: of a job of a run on a CPU; all cores unless given.
    """

    retries: Retries = DEFAULT
    memory: Memory | None = None
    threads: int | None = None

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        memory: Memory = {} if self.memory is None else self.memory

        def report(job: Job, progress: Progress) -> None:
            try:
                watch(job, progress)
            except Exception as failure:
                raise _WatchError(failure) from None

        try:
            for job in jobs:
                yield from self.retries.outcomes(
                    job, partial(do, job, partial(report, job), memory)
                )
        except _WatchError as failure:
            raise failure.args[0] from None


class _WatchError(BaseException):
    """The caller's `watch` raised; not an `Exception`, as the job is not to be blamed."""
