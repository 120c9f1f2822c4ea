"""Worker processes of this machine (`d3data.executors.worker`), and an executor that has some."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, Any

from d3data.executors.base import (
    DEFAULT,
    PATIENCE,
    SAVING,
    Hands,
    Job,
    Message,
    Outcomes,
    Retries,
    Watch,
    crashed,
    follow,
)
from d3data.utils.process import PASSIVE
from d3data.utils.progress import ReportProgress

STOP = b"stop\n"  # the line that has a worker save the job it is at, and end
TAIL = 2000  # characters of a dead worker's stderr


@dataclass(frozen=True)
class Processes:
    """Does `workers` jobs at a time, each in a process of its own.

    `devices` are values of CUDA_VISIBLE_DEVICES that the workers take in turn; none on a CPU.
    Workers end with this process, also when it is killed.
    """

    workers: int
    devices: Sequence[str] = ()
    retries: Retries = DEFAULT

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        waiting = list(jobs)
        count = max(1, min(self.workers, len(waiting)))
        hands = _Pool([self.environment(number) for number in range(count)])
        yield from hands.run(waiting, count, self.retries, watch)

    def environment(self, number: int) -> dict[str, str]:
        """Where worker `number` finds modules, those of own objectives too, and its device."""
        added = modules()
        if self.devices:
            added["CUDA_VISIBLE_DEVICES"] = self.devices[number % len(self.devices)]
        return added


def modules() -> dict[str, str]:
    """The environment in which another process finds the modules that this one finds."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class _Pool(Hands):
    def __init__(self, environments: Sequence[Mapping[str, str]]) -> None:
        super().__init__()
        self._workers = [Worker(environment) for environment in environments]
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def attempt(self, job: Job, report: ReportProgress) -> None:
        worker = self._idle.get()
        try:
            if not self.stop.is_set():
                follow(worker.messages(job.told(), job.threads), report)
        finally:
            self._idle.put(worker)

    def halt(self, patience: float) -> None:
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.wait(patience)

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()


class Worker:
    """A worker process, started for its first job and after a failure."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._stopped = threading.Lock(), False

    def messages(self, told: str, threads: int) -> Generator[Message, None, None]:
        """Have a job done that was `told`; what the worker says of it, to its end or its death."""
        process, message = self._started(threads), dict[str, Any]()
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # then there is nothing to be read either
                process.stdin.write(told.encode() + b"\n")
                process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line) if line.endswith(b"\n") else {}  # it died meanwhile
                if message:
                    yield message
                if "done" in message or "failed" in message:
                    return
            yield crashed(self._last_words(process))
        except KeyboardInterrupt:
            self.ask_to_stop()
            self.wait(SAVING)
            raise
        finally:
            if "done" not in message:
                self.close()

    def ask_to_stop(self) -> None:
        """Have it save the job that it does, and end; it begins no other."""
        with self._lock:
            self._stopped, process = True, self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended
                process.stdin.write(STOP)
                process.stdin.flush()

    def wait(self, patience: float = PATIENCE) -> None:
        """Wait until it has ended, and kill it if that takes too many seconds."""
        if (process := self._process) is not None:
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End it, which it does when its stdin ends."""
        if (process := self._process) is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        self.wait()
        process.stdout.close()
        self._stderr.close()
        self._process = None

    def _started(self, threads: int) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._process is None and not self._stopped:
                self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
                options: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "d3data.executors.worker"],
                    **options,
                    stderr=self._stderr,
                    env={
                        **PASSIVE,
                        **os.environ,
                        "OMP_NUM_THREADS": str(threads),
                        **self._environment,
                    },
                    start_new_session=True,  # Ctrl-C is for the driver, which ends its workers
                )
            return None if self._stopped else self._process

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
