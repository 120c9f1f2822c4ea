"""Who does the jobs of a run: this process, or worker processes on this machine.

An executor is anything with `run`. Retries are ours, so that every executor behaves alike: an
error of ours says that trying again would not help; whatever else ends an attempt, a worker that
was killed included, costs that attempt and nothing else.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from d3data import errors
from d3data.distill.jobs import Job, loader, perform
from d3data.distill.journal import Progress, Report, seldom
from d3data.errors import D3DataError, JobError

REPORT_EVERY = 0.5  # seconds
PATIENCE = 10.0  # seconds that a worker has to end by itself
TAIL = 2000  # characters of a dead worker's last words


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


@dataclass(frozen=True)
class Inline:
    """Does one job after the other in this process."""

    retries: Retries = Retries()

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


@dataclass(frozen=True)
class Processes:
    """Does `workers` jobs at a time, each in a process of its own.

    `devices` are entries for CUDA_VISIBLE_DEVICES, dealt to the workers in turn; none on a CPU.
    Workers end with this process, also when it is killed.
    """

    workers: int
    devices: Sequence[str] = ()
    retries: Retries = Retries()

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        """Do the jobs, begun in their order."""
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        slots = [
            _Slot(self._environment(number), waiting, told, self.retries)
            for number in range(min(self.workers, waiting.qsize()))
        ]
        try:
            for slot in slots:
                slot.start()
            yield from _outcomes(told, len(slots), watch)
        finally:
            for slot in slots:
                slot.end()
            for slot in slots:
                slot.join()

    def _environment(self, number: int) -> dict[str, str]:
        if not self.devices:
            return {}
        return {"CUDA_VISIBLE_DEVICES": self.devices[number % len(self.devices)]}


def _outcomes(told: "queue.SimpleQueue[Any]", slots: int, watch: Watch) -> Iterator[Done | Failed]:
    """What the slots tell, until all have said None; progress goes to `watch`."""
    while slots:
        match told.get():
            case None:
                slots -= 1
            case (job, progress):
                watch(job, progress)
            case Exception() as fault:
                raise fault
            case outcome:
                yield outcome


class _Slot(threading.Thread):
    """Does jobs as long as any wait, in a worker process that is renewed when it dies.

    Tells (job, progress), Done, Failed, an exception that is a fault of ours, and None at the end.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        waiting: "queue.SimpleQueue[Job]",
        told: "queue.SimpleQueue[Any]",
        retries: Retries,
    ) -> None:
        super().__init__(daemon=True)
        self._environment, self._retries = environment, retries
        self._waiting, self._told = waiting, told
        self._worker: _Worker | None = None
        self._over, self._hiring = threading.Event(), threading.Lock()

    def run(self) -> None:
        """Do jobs until none waits, or `end` was called."""
        try:
            while not self._over.is_set():
                job = self._waiting.get_nowait()
                for outcome in self._retries.outcomes(
                    job, partial(self._attempt, job), self._over.wait
                ):
                    self._told.put(outcome)
        except queue.Empty:
            pass
        except Exception as fault:
            self._told.put(fault)
        finally:
            self._dismiss()
            self._told.put(None)

    def end(self) -> None:
        """Have the worker and then the thread end soon; called by another thread."""
        with self._hiring:
            self._over.set()
            if self._worker is not None:
                self._worker.hang_up()

    def _attempt(self, job: Job) -> None:
        with self._hiring:
            if self._over.is_set():
                raise _CrashError("it was stopped")
            if self._worker is None:
                self._worker = _Worker(job, self._environment)
        try:
            self._worker.perform(job, lambda progress: self._told.put((job, progress)))
        except D3DataError:
            raise
        except Exception:
            self._dismiss()
            raise

    def _dismiss(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None


class _CrashError(Exception):
    """A worker died, or met a fault that is not an error of ours; `trace` is its traceback."""

    def __init__(self, message: str, *, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


class _Worker:
    """A handle on one worker process (`d3data.distill.worker`)."""

    def __init__(self, job: Job, environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "d3data.distill.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "OMP_NUM_THREADS": str(job.threads), **environment},
            start_new_session=True,  # Ctrl-C is for the driver, which ends its workers
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def perform(self, job: Job, report: Report) -> None:
        """Have the job done.

        Raises:
            D3DataError: the worker did.
            _CrashError: it died, or raised something else.
        """
        with contextlib.suppress(BrokenPipeError):  # then there is nothing to be read either
            self._in.write(job.model_dump_json().encode() + b"\n")
            self._in.flush()
        for line in self._out:
            if not line.endswith(b"\n"):
                break  # it died in the middle of a word
            message = json.loads(line)
            if "progress" in message:
                report(Progress(**message["progress"]))
            elif "failed" in message:
                raise _rebuilt(**message["failed"])
            else:
                return
        raise _CrashError(self._last_words())

    def hang_up(self) -> None:
        """Have it end: it does when its stdin does."""
        with contextlib.suppress(BrokenPipeError):
            self._in.close()

    def end(self) -> None:
        """End it and wait for that."""
        self.hang_up()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()
        self._errors.close()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        tail = self._errors.read().decode(errors="replace").strip()[-TAIL:]
        how = f"it ended with status {code}"
        if code < 0:
            how = f"it was killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += ", as the system does when memory runs out"
        return f"{how}; it last wrote: {tail}" if tail else how


def _rebuilt(error: str, message: str, trace: str) -> Exception:
    """The exception that a worker tells of: one of ours as itself."""
    kind = getattr(errors, error, None)
    if isinstance(kind, type) and issubclass(kind, D3DataError):
        return kind(message)
    return _CrashError(f"{error}: {message}", trace=trace)


def _crash(job: Job, failure: Exception) -> JobError:
    error = JobError(f"{job.name} failed: {failure}")
    error.__cause__ = failure
    if isinstance(failure, _CrashError) and failure.trace:
        error.add_note(failure.trace)
    return error
