"""An executor whose jobs are Slurm's, submitted as arrays by submitit."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from d3data.errors import DeviceError, RunError
from d3data.executors.base import (
    DEFAULT,
    SAVING,
    Done,
    Hands,
    Job,
    Message,
    Outcomes,
    Retries,
    Watch,
    crashed,
    follow,
)
from d3data.executors.processes import TAIL, Worker, modules
from d3data.utils.atomic import write_json
from d3data.utils.packages import of_extra
from d3data.utils.progress import ReportProgress

if TYPE_CHECKING:
    from d3data.utils.device import Resources

AT_ONCE = 64  # jobs whose progress is followed at a time
LOOK = 10.0  # seconds between two looks at the queue
READ = 1.0  # seconds between two looks at what a job says
MISSED = 5  # looks at which a job was neither in the queue nor had said how it ended
TOLD = 2.0  # seconds between two words of a job
FOLDER, IDS = "slurm", "jobs.json"
USUAL = {"time": 240, "signal_delay_s": 120}  # minutes, and seconds before their end


@dataclass(frozen=True)
class Slurm:
    """Does jobs as jobs of Slurm, one array for all that can be done at a time.

    All nodes see the run's folder, the images and this Python under the same paths. A job that is
    preempted, or whose time is over, is queued again and goes on from its checkpoint. Jobs that
    are in the queue when this process is killed stay there; the next one follows them.

    Attributes:
        options: what sbatch is told, such as `{"partition": "gpu", "account": "me", "time": 600}`:
            `time` in minutes, `cpus_per_task` is the threads of a job.
        workers: how many jobs of an array run at a time; as many as Slurm allows, if None.
        retries: how often a job is tried.
        cluster: "local" has processes of this machine in place of Slurm, for tests.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    workers: int | None = None
    retries: Retries = DEFAULT
    cluster: Literal["slurm", "local"] = "slurm"

    @property
    def command_options(self) -> dict[str, str | list[str]]:
        """What the command line is told for it."""
        told = [f"{key}={value}" for key, value in self.options.items()]
        return {
            "executor": "slurm",
            **({"slurm": told} if told else {}),
            **({"workers": str(self.workers)} if self.workers else {}),
        }

    def resources(self, device: str) -> "Resources":
        """What jobs on `device` have; whether there are such nodes, sbatch says."""
        from d3data.utils.device import Resources  # it loads torch

        kind, _, index = device.partition(":")
        if kind not in ("cpu", "cuda") or index:
            raise DeviceError(f"jobs of Slurm compute on cpu or cuda, not on '{device}'")
        return Resources(kind, self.workers or 1, each=int(self.options.get("cpus_per_task", 1)))

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        if not (waiting := list(jobs)):
            return
        queue = _Queue(self, waiting[0].folder / FOLDER)
        queue.begin(waiting)
        left = len(waiting)
        for outcome in queue.run(waiting, min(AT_ONCE, left), self.retries, watch):
            left -= isinstance(outcome, Done)
            yield outcome
        if not left:
            shutil.rmtree(queue.folder, ignore_errors=True)

    def submitter(self, folder: Path, job: Job) -> Any:
        """Submitit's executor for jobs like this one."""
        submitit = of_extra("slurm", "submitit")
        if self.cluster == "local":
            local = submitit.LocalExecutor(folder)
            local.update_parameters(timeout_min=USUAL["time"])
            return local
        try:
            slurm = submitit.SlurmExecutor(folder, max_num_timeout=10_000)
        except RuntimeError as failure:
            raise RunError(f"there is no Slurm here ({failure}): use another executor") from None
        known = slurm._valid_parameters()
        given = {**USUAL, "job_name": "d3data", "cpus_per_task": job.threads, **self.options}
        if job.device == "cuda" and not any("gpu" in key or key == "gres" for key in given):
            given["gpus_per_node"] = 1
        if self.workers:
            given["array_parallelism"] = self.workers
        others = {key: value for key, value in given.items() if key not in known}
        told = {key: value for key, value in given.items() if key in known}
        slurm.update_parameters(**told, additional_parameters={"requeue": True, **others})
        return slurm


class Call:
    """What a node does: one job, in a process of its own; its last word stands in `place`."""

    def __init__(self, told: str, threads: int, environment: Mapping[str, str], place: Path):
        self._given = told, threads, environment, place

    def __call__(self) -> None:
        told, threads, environment, place = self._given
        self._worker, self._ended, last = Worker(environment), False, 0.0
        signal.signal(signal.SIGTERM, self._end)
        try:
            for message in self._worker.messages(told, threads):
                if self._ended and "done" not in message:
                    sys.exit(128 + signal.SIGTERM)
                if "progress" not in message or time.monotonic() - last > TOLD:
                    last = time.monotonic()
                    write_json(place, message)
        finally:
            self._worker.close()
        os._exit(0)  # all is said, and the folder may be gone

    def _end(self, number: int, frame: object) -> None:
        """Have the job saved, as this one was cancelled or preempted."""
        self._ended = True
        self._worker.ask_to_stop()

    def checkpoint(self) -> Any:
        """Submitit's: have the job saved, which is queued again."""
        self._worker.ask_to_stop()
        self._worker.wait(SAVING)
        return of_extra("slurm", "submitit").helpers.DelayedSubmission(Call(*self._given))


class _Queue(Hands):
    def __init__(self, how: Slurm, folder: Path) -> None:
        super().__init__()
        self._how, self.folder = how, folder
        self._lock = threading.RLock()
        self._at: dict[str, tuple[str, Path]] = {}  # id and last word, by a job's name
        self._begun: set[str] = set()
        self._looked, self._queued = 0.0, set[str]()
        self._started = list[Any]()

    def begin(self, jobs: Sequence[Job]) -> None:
        """Submit those that are not in the queue, where an earlier driver has left them."""
        with contextlib.suppress(OSError, ValueError):
            known = json.loads((self.folder / IDS).read_bytes())
            here = {name: (number, Path(place)) for name, (number, place) in known.items()}
            self._at = {
                name: (number, place)
                for name, (number, place) in here.items()
                if "failed" not in (_read(place) or {}) and self._waits(number)
            }
        self._submit([job for job in jobs if job.name not in self._at])
        self._begun = {job.name for job in jobs}

    def attempt(self, job: Job, report: ReportProgress) -> None:
        with self._lock:
            if self.stop.is_set():
                return
            if job.name not in self._begun:
                self._submit([job])
            self._begun.discard(job.name)
        follow(self._messages(job), report)

    def __exit__(self, *_: object) -> None:
        for one in self._started:
            if (
                process := getattr(one, "_process", None)
            ) is not None:  # submitit's local executor
                process.wait()

    def halt(self, patience: float) -> None:
        with self._lock:
            ids = [number for number, _ in self._at.values() if self._waits(number)]
        if ids and self._how.cluster == "slurm":
            subprocess.run(["scancel", *ids], check=False)  # noqa: S603, S607
        for number in ids if self._how.cluster == "local" else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGINT)

    def _submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            kind = (job.threads, job.device)
            alike = [one for one in jobs if (one.threads, one.device) == kind]
            if alike[0] is job:
                self._submit_alike(alike)

    def _submit_alike(self, jobs: Sequence[Job]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        names = [f"{job.name.replace(' ', '-')}.{secrets.token_hex(4)}.json" for job in jobs]
        places = [self.folder / name for name in names]
        calls = [
            Call(job.told(), job.threads, modules(), place)
            for job, place in zip(jobs, places, strict=True)
        ]
        submitter = self._how.submitter(self.folder, jobs[0])
        try:
            submitted = submitter.submit_array(calls)
        except Exception as failure:  # of submitit's, with what sbatch has said
            raise RunError(
                f"sbatch takes no jobs here: {str(failure).strip()}; mend its options, or go to a "
                "machine of the cluster, or use another executor"
            ) from failure
        self._started += submitted
        for job, one, place in zip(jobs, submitted, places, strict=True):
            self._at[job.name] = one.job_id, place
        self._looked = 0.0
        write_json(self.folder / IDS, {n: (i, str(place)) for n, (i, place) in self._at.items()})

    def _messages(self, job: Job) -> Generator[Message, None, None]:
        (number, place), last, missed = self._at[job.name], None, set[float]()
        while not self.stop.is_set():
            waits, looked = self._look(number)
            missed = set() if waits else {*missed, looked}
            message = _read(place)
            if message is not None and message != last:
                last = message
                if "progress" not in message:
                    self._forget(job)
                yield message
                if "progress" not in message:
                    return
            elif len(missed) > MISSED:
                self._forget(job)
                yield crashed(f"its job {number} left the queue{self._tail(number)}")
                return
            self.stop.wait(READ)

    def _forget(self, job: Job) -> None:
        with self._lock:
            del self._at[job.name]

    def _waits(self, number: str) -> bool:
        waits, _ = self._look(number)
        return waits

    def _look(self, number: str) -> tuple[bool, float]:
        """Whether a job is in the queue, waiting or running, and when that was looked up."""
        if self._how.cluster == "local":
            return _lives(number, self._started), time.monotonic()
        with self._lock:
            if time.monotonic() - self._looked > LOOK:
                command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
                seen = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
                if seen.returncode:
                    return True, self._looked  # nobody knows
                self._queued, self._looked = {*seen.stdout.split()}, time.monotonic()
            return number in self._queued, self._looked

    def _tail(self, number: str) -> str:
        with contextlib.suppress(OSError):
            path = self.folder / f"{number}_0_log.err"
            if tail := path.read_text("utf-8", errors="replace").strip()[-TAIL:]:
                return f"; its last output: {tail}"
        return ", by scancel, or because it had no node or memory left"


def _lives(number: str, started: Iterable[Any]) -> bool:
    for job in started:
        if job.job_id == number:
            return not job.done()
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(number), 0)
        return True
    return False


def _read(place: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        message: dict[str, Any] = json.loads(place.read_bytes())
        return message
    return None
