"""The executor of worker processes, on this machine or begun on others by a launcher."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from d3data import errors
from d3data.distill.executors import USUAL, CrashError, Done, Failed, Outcomes, Retries, Watch
from d3data.distill.jobs import Job
from d3data.distill.progress import Progress, Report
from d3data.errors import D3DataError

PATIENCE = 10.0  # seconds that a worker has to end by itself
TAIL = 2000  # characters of a dead worker's last words


@dataclass(frozen=True)
class Processes:
    """Does `workers` jobs at a time, each in a process of its own.

    `devices` are entries for CUDA_VISIBLE_DEVICES, dealt to the workers in turn; none on a CPU.
    Workers end with this process, also when it is killed.

    `launcher` is a command that begins each worker, which it is given as its last arguments, such
    as `srun -n1 --gpus=1`, or `ssh node{worker}` with the worker's number from 0. It passes stdin
    and stdout on. The run's folder, the images and this Python are then where all machines find
    them under the same paths.
    """

    workers: int
    devices: Sequence[str] = ()
    retries: Retries = USUAL
    launcher: Sequence[str] = ()

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        """Do the jobs, begun in their order."""
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        slots = [
            _Slot(self.command(number), self.environment(number), waiting, told, self.retries)
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

    def command(self, number: int) -> list[str]:
        """What begins worker `number`."""
        begun = [word.replace("{worker}", str(number)) for word in self.launcher]
        return [*begun, sys.executable, "-m", "d3data.distill.worker"]

    def environment(self, number: int) -> dict[str, str]:
        """What is added to the environment of worker `number`.

        The accelerator that it sees, and where this process finds modules: those of objectives
        that a recipe names are imported there too.
        """
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        if not self.devices:
            return path
        return {**path, "CUDA_VISIBLE_DEVICES": self.devices[number % len(self.devices)]}


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
        command: Sequence[str],
        environment: Mapping[str, str],
        waiting: "queue.SimpleQueue[Job]",
        told: "queue.SimpleQueue[Any]",
        retries: Retries,
    ) -> None:
        super().__init__(daemon=True)
        self._command, self._environment, self._retries = command, environment, retries
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
                raise CrashError("it was stopped")
            if self._worker is None:
                self._worker = _Worker(job, self._command, self._environment)
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


class _Worker:
    """A handle on one worker process (`d3data.distill.worker`)."""

    def __init__(self, job: Job, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(  # noqa: S603  the launcher is the user's own
            command,
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
            CrashError: it died, or raised something else.
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
        raise CrashError(self._last_words())

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
    return CrashError(f"{error}: {message}", trace=trace)
