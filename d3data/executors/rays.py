"""An executor whose jobs are tasks of Ray, on this machine or on a cluster."""

import contextlib
import functools
import os
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d3data.errors import DeviceError, RecipeError, RunError
from d3data.executors.base import (
    DEFAULT,
    CrashError,
    Hands,
    Job,
    Message,
    Outcomes,
    Retries,
    Watch,
    follow,
)
from d3data.executors.carrying import Carried, files_of
from d3data.executors.processes import Worker, modules
from d3data.utils.atomic import write_bytes
from d3data.utils.packages import of_extra
from d3data.utils.progress import ReportProgress

if TYPE_CHECKING:
    from d3data.utils.device import Resources

AT_ONCE = 256  # tasks that are submitted at a time; Ray starts as many as there is room for
KEPT = list[Worker]()  # a worker process that waits for a job, in a process of Ray
TRIES = 4  # to start a cluster on this machine
LOOK = 5.0  # seconds between two looks at the cluster, of a job that says nothing


@dataclass(frozen=True)
class Ray:
    """Does jobs as tasks of a Ray cluster.

    All nodes see the run's folder, the images and this Python under the same paths; with
    `carried`, the files of the run go through Ray's object store instead. A job runs in a process
    of its own, which ends with its task. Retries are ours, none are Ray's.

    Attributes:
        address: of the cluster, such as "auto" for that of this machine; None starts one on this
            machine, which ends with this process.
        gpus: what each job takes of a GPU, where jobs compute on GPUs: with 0.5 two share one.
        workers: how many jobs run at a time; as many as there is room for, if None.
        carried: whether nodes share no disk.
        retries: how often a job is tried.
    """

    address: str | None = None
    gpus: float = 1.0
    workers: int | None = None
    carried: bool = False
    retries: Retries = DEFAULT

    @property
    def command_options(self) -> dict[str, str]:
        """What the command line is told for it; a flag has no value."""
        given = {"executor": "ray", "address": self.address, "carry": "" if self.carried else None}
        given |= {"gpus": f"{self.gpus:g}" if self.gpus != 1 else None}
        given |= {"workers": str(self.workers) if self.workers else None}
        return {name: value for name, value in given.items() if value is not None}

    def resources(self, device: str) -> "Resources":
        """What the cluster has for jobs on `device`; DeviceError if it has nothing."""
        from d3data.utils.device import Resources, find_resources  # they load torch

        if self.gpus <= 0 or (self.gpus > 1 and self.gpus % 1):
            raise RecipeError(f"gpus must be a part of one, or whole GPUs, got {self.gpus:g}")
        if self.address is None:
            return find_resources(device, self.workers)
        kind, _, index = device.partition(":")
        if kind not in ("cpu", "cuda") or index:
            raise DeviceError(f"jobs of a Ray cluster compute on cpu or cuda, not on '{device}'")
        room = self._room(kind, 1)
        each = max(1, int(min(cpus / slots for cpus, slots in room))) if kind == "cuda" else 1
        return Resources(kind, self.workers or sum(slots for _, slots in room), each=each)

    def run(self, jobs: Iterable[Job], *, watch: Watch) -> Outcomes:
        waiting = list(jobs)
        for device, threads in {(job.device, job.threads) for job in waiting}:
            self._room(device, threads)
        count = max(1, min(self.workers or AT_ONCE, len(waiting)))
        yield from _Tasks(self).run(waiting, count, self.retries, watch)

    def _room(self, device: str, threads: int) -> list[tuple[float, int]]:
        """Of each node that has room for such jobs: its CPUs, and how many jobs; else DeviceError.

        A task that no node has room for would wait for ever.
        """
        ray, gpus = connected(self.address), self.takes(device)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes]
        slots = [
            (cpus, int(min(cpus / threads, has / gpus if gpus else cpus))) for cpus, has in room
        ]
        if not any(count for _, count in slots):
            wants = f"{threads} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
            has = ", ".join(f"{cpus:g} CPUs and {has:g} GPUs" for cpus, has in room)
            remedy = "start a node that has them" + ", or give --device cpu" * (gpus > 0)
            raise DeviceError(
                f"each job takes {wants}, and no node of the Ray cluster has so many (they have "
                f"{has or 'nothing'}): {remedy}"
            )
        return [(cpus, count) for cpus, count in slots if count]

    def takes(self, device: str) -> float:
        """The GPUs that a job on `device` takes."""
        return self.gpus if device.partition(":")[0] == "cuda" else 0.0


def connected(address: str | None) -> Any:
    """Ray, connected to a cluster, which is started on this machine if `address` is None."""
    ray = of_extra("ray", "ray")
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            options["include_dashboard"] = False
            for _ in range(TRIES - 1):  # it has 30 seconds, which a busy machine may exceed
                with contextlib.suppress(Exception):
                    ray.init(address="local", **options)
                    return ray
        try:
            ray.init(address=address or "local", **options)
        except Exception as failure:  # Ray raises bare ones
            remedy = "start one with `ray start --head`, or leave the address out"
            if address is None:
                remedy = "this machine is too busy to start one in time: repeat the command"
            place = address or "this machine"
            raise RunError(f"no Ray cluster at {place} ({failure}): {remedy}") from failure
    return ray


class _Tasks(Hands):
    def __init__(self, how: Ray) -> None:
        super().__init__()
        self._how, self._ray = how, connected(how.address)
        self._task = self._ray.remote(num_returns="streaming", max_retries=0)(_attempt)
        self._live, self._lock = set[Any](), threading.Lock()
        self._sent: dict[tuple[Path, int, int], Any] = {}  # by path, time and size

    def attempt(self, job: Job, report: ReportProgress) -> None:
        options = {
            "num_cpus": job.threads,
            "num_gpus": self._how.takes(job.device),
            "name": job.name,
        }
        sent = self._send(job) if self._how.carried else None
        with self._lock:
            if self.stop.is_set():
                raise CrashError("it was stopped")
            task = self._task.options(**options).remote(job.told(), job.threads, modules(), sent)
            self._live.add(task)
        try:
            follow(self._messages(job, task), report)
        finally:
            with self._lock:
                self._live.discard(task)

    def halt(self, patience: float) -> None:
        with self._lock:
            for task in self._live:
                self._ray.cancel(task)

    def _messages(self, job: Job, task: Any) -> Generator[Message, None, None]:
        heard = over = False
        try:
            while True:
                ready, _ = self._ray.wait([task], timeout=LOOK)
                if ready:
                    heard, message = True, self._ray.get(next(task))
                    over = "done" in message or "failed" in message
                    for path, content in message.get("files", {}).items():
                        write_bytes(Path(path), content)
                    yield message
                elif not heard:
                    self._require_room(job)
        except StopIteration:
            return
        except self._ray.exceptions.RayError as failure:
            raise CrashError(f"Ray lost it: {_reason(failure)}") from None
        finally:
            if not over:
                self._ray.cancel(task)

    def _require_room(self, job: Job) -> None:
        try:
            self._how._room(job.device, job.threads)
        except DeviceError as failure:  # a node may come back
            raise CrashError(str(failure)) from None

    def _send(self, job: Job) -> dict[str, Any]:
        """The files that a job needs, as objects of Ray; each is put there once."""
        sent = {}
        for path in files_of((*job.reads, *job.writes)):
            about = path.stat()
            key = path, about.st_mtime_ns, about.st_size
            if key not in self._sent:
                self._sent[key] = self._ray.put(path.read_bytes())
            sent[str(path)] = self._sent[key]
        return sent


def _attempt(
    told: str, threads: int, environment: Mapping[str, str], sent: Mapping[str, Any] | None
) -> Iterator[Message]:
    """What a node does: one job, in a process that waits for the next, unless it has a GPU."""
    _end_with_node()
    ray, kept = connected(None), KEPT.pop() if KEPT else Worker(environment)
    try:
        if sent is None:
            yield from kept.messages(told, threads)
        else:
            files = {path: ray.get(content) for path, content in sent.items()}
            with Carried(told, files) as carried:
                yield from carried.messages(kept, threads)
    except BaseException:
        kept.close()
        raise
    if ray.get_runtime_context().get_accelerator_ids()["GPU"]:
        kept.close()
    else:
        KEPT.append(kept)


@functools.cache
def _end_with_node() -> None:
    """Have this process, which is Ray's, end with its node: Ray leaves it where that is killed."""
    node = os.getppid()

    def watch() -> None:
        while os.getppid() == node:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _reason(failure: Exception) -> str:
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    told = lines[-1] if hasattr(failure, "cause") else lines[0]  # a traceback, or a story
    return f"{type(failure).__name__}: {told}"
