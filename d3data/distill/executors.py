"""Executors do the jobs of a run, in this process or in others.

An executor is anything with a method `run`. All share `Retries`: a `D3DataError` is final, since
trying again would not help; any other failure, a killed worker included, costs one attempt.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import IO, Any, Protocol

from d3data import errors
from d3data.distill.jobs import Job, Load, loader, perform
from d3data.errors import D3DataError, JobError
from d3data.utils.progress import Progress, ReportProgress

PATIENCE = 10.0  # seconds that a worker has to end by itself
SAVING = 60.0  # seconds that it has to save the job it is at
STOP = b"stop\n"  # the line that asks for that
TAIL = 2000  # characters of a dead worker's stderr


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


def joined(error: JobError, *causes: Exception) -> JobError:
    """The error with the notes of its causes, which are traces."""
    error.__cause__ = causes[0]
    for trace in (note for cause in causes for note in getattr(cause, "__notes__", [])):
        error.add_note(trace)
    return error


DEFAULT = Retries()


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


@dataclass(frozen=True)
class Inline:
    """Does one job after the other in this process; `load` loads their task."""

    retries: Retries = DEFAULT
    load: Load | None = None

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        load = self.load or loader()

        def report(job: Job, progress: Progress) -> None:
            try:
                watch(job, progress)
            except Exception as failure:
                raise _WatchError(failure) from None

        try:
            for job in jobs:
                attempt = partial(perform, job, throttled(partial(report, job)), load)
                yield from self.retries.outcomes(job, attempt)
        except _WatchError as failure:
            raise failure.args[0] from None


class _WatchError(BaseException):
    """The caller's `watch` raised; not an `Exception`, as the job is not to be blamed."""


@dataclass(frozen=True)
class Processes:
    """Does `workers` jobs at a time, each in a process of its own.

    `devices` are values of CUDA_VISIBLE_DEVICES that the workers take in turn; none on a CPU.
    Workers end with this process, also when it is killed.

    `launcher` is a command that starts each worker, which it is given as its last arguments, such
    as `srun -n1 --gpus=1`, or `ssh node{worker}` with the worker's number from 0. It passes stdin
    and stdout on. All machines must see the run's folder, the images and this Python under the
    same paths.
    """

    workers: int
    devices: Sequence[str] = ()
    retries: Retries = DEFAULT
    launcher: Sequence[str] = ()

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        waiting = list(jobs)
        messages: SimpleQueue[Any] = SimpleQueue()
        idle: SimpleQueue[_Worker] = SimpleQueue()
        stop = threading.Event()
        count = max(1, min(self.workers, len(waiting)))
        workers = [_Worker(self.command(n), self.environment(n), stop) for n in range(count)]
        for worker in workers:
            idle.put(worker)

        def do(job: Job) -> None:  # sends (job, progress), outcomes, a fault of ours, and None
            worker = idle.get()
            attempt = partial(worker.perform, job, lambda at: messages.put((job, at)))
            try:
                for outcome in self.retries.outcomes(job, attempt, stop.wait):
                    messages.put(outcome)
                    if stop.is_set():
                        break
            except Exception as fault:
                messages.put(fault)
            finally:
                idle.put(worker)
                messages.put(None)

        pool, left = ThreadPoolExecutor(count), len(waiting)
        patience = SAVING
        try:
            for job in waiting:
                pool.submit(do, job)
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
            stop.set()
            for worker in workers:
                worker.ask_to_stop()
            for worker in workers:
                worker.wait(patience)
            pool.shutdown(cancel_futures=True)
            for worker in workers:
                worker.close()

    def command(self, number: int) -> list[str]:
        launcher = [word.replace("{worker}", str(number)) for word in self.launcher]
        return [*launcher, sys.executable, "-m", "d3data.distill.worker"]

    def environment(self, number: int) -> dict[str, str]:
        """Where worker `number` finds modules, those of own objectives too, and its device."""
        added = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        if self.devices:
            added["CUDA_VISIBLE_DEVICES"] = self.devices[number % len(self.devices)]
        return added


class _Worker:
    """A worker process (`d3data.distill.worker`), started for its first job and after a crash."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], stop: threading.Event
    ) -> None:
        self._command, self._environment, self._stop = command, environment, stop
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()

    def perform(self, job: Job, report: ReportProgress) -> None:
        """Have the job done; raises the worker's D3DataError, or CrashError for anything else."""
        process = self._started(job.threads)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # then there is nothing to be read either
                process.stdin.write(job.model_dump_json().encode() + b"\n")
                process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line) if line.endswith(b"\n") else {}  # it died meanwhile
                if "progress" in message:
                    report(Progress(**message["progress"]))
                elif "failed" in message:
                    raise _rebuilt(**message["failed"])
                elif "done" in message:
                    return
            raise CrashError(self._last_words(process))
        except D3DataError:
            raise
        except Exception:
            self.close()
            raise

    def ask_to_stop(self) -> None:
        """Have it save the job that it does, and end."""
        with self._starting:
            process = self._process
        if process is not None and process.stdin is not None and not process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(STOP)
                process.stdin.flush()

    def hang_up(self) -> None:
        """Tell it to end, which it does when its stdin ends."""
        with self._starting:
            process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def wait(self, patience: float = PATIENCE) -> None:
        """Wait until it has ended, and kill it if that takes too many seconds."""
        if (process := self._process) is not None:
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        self.hang_up()
        self.wait()
        if (process := self._process) is not None and process.stdout is not None:
            process.stdout.close()
            self._stderr.close()
        self._process = None

    def _started(self, threads: int) -> subprocess.Popen[bytes]:
        with self._starting:
            if self._stop.is_set():
                raise CrashError("it was stopped")
            if self._process is None:
                self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
                self._process = subprocess.Popen(  # noqa: S603  the launcher is the user's own
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._stderr,
                    env={**os.environ, "OMP_NUM_THREADS": str(threads), **self._environment},
                    start_new_session=True,  # Ctrl-C is for the driver, which ends its workers
                )
            return self._process

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        code = process.wait()
        self._stderr.seek(0)
        tail = self._stderr.read().decode(errors="replace").strip()[-TAIL:]
        how = f"its process ended with status {code}"
        if code < 0:
            how = f"its process was killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += ", as the system does when memory runs out"
        return f"{how}; its last output: {tail}" if tail else how


def _rebuilt(error: str, message: str, trace: str) -> Exception:
    kind = getattr(errors, error, None)
    if isinstance(kind, type) and issubclass(kind, D3DataError):
        return kind(message)
    crash = CrashError(f"{error}: {message}")
    crash.add_note(trace)
    return crash
