"""The executor with worker processes, on this machine or started on others by a launcher."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import IO, Any

from d3data import errors
from d3data.distill.executors import DEFAULT, CrashError, Outcomes, Retries, Watch
from d3data.distill.jobs import Job
from d3data.distill.progress import JobProgress, Report
from d3data.errors import D3DataError

PATIENCE = 10.0  # seconds that a worker has to end by itself
TAIL = 2000  # characters of a dead worker's stderr


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
        """Do the jobs, started in their order."""
        waiting = list(jobs)
        messages: SimpleQueue[Any] = SimpleQueue()
        idle: SimpleQueue[_Worker] = SimpleQueue()
        stop = threading.Event()
        count = max(1, min(self.workers, len(waiting)))
        workers = [_Worker(self.command(n), self.environment(n), stop) for n in range(count)]
        for worker in workers:
            idle.put(worker)

        def do(job: Job) -> None:
            """Send (job, progress), the outcomes, a fault of ours if there is any, and None."""
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
        finally:
            stop.set()
            for worker in workers:
                worker.hang_up()
            for worker in workers:
                worker.wait()
            pool.shutdown(cancel_futures=True)
            for worker in workers:
                worker.close()

    def command(self, number: int) -> list[str]:
        """What starts worker `number`."""
        launcher = [word.replace("{worker}", str(number)) for word in self.launcher]
        return [*launcher, sys.executable, "-m", "d3data.distill.worker"]

    def environment(self, number: int) -> dict[str, str]:
        """What is added to the environment of worker `number`.

        The accelerator that it sees, and where this process finds modules: those of objectives
        that a recipe names are imported there too.
        """
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        if not self.devices:
            return path
        return {**path, "CUDA_VISIBLE_DEVICES": self.devices[number % len(self.devices)]}


class _Worker:
    """A worker process (`d3data.distill.worker`), started for its first job and after a crash."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], stop: threading.Event
    ) -> None:
        self._command, self._environment, self._stop = command, environment, stop
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()

    def perform(self, job: Job, report: Report) -> None:
        """Have the job done.

        Raises:
            D3DataError: the worker did.
            CrashError: it died, or raised something else.
        """
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
                    report(JobProgress(**message["progress"]))
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

    def hang_up(self) -> None:
        """Tell it to end, which it does when its stdin ends."""
        with self._starting:
            process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def wait(self) -> None:
        """Wait until it has ended, and kill it if that takes too long."""
        if (process := self._process) is not None:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End it and close its files."""
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
    """The exception that a worker raised; one of d3data's with its own class."""
    kind = getattr(errors, error, None)
    if isinstance(kind, type) and issubclass(kind, D3DataError):
        return kind(message)
    return CrashError(f"{error}: {message}", trace=trace)
