"""An evaluation dealt out to worker processes (`d3data.evaluation.worker`): each trains a share.

A worker makes the same plan from the names that it is told, takes every n-th network on the set
and every n-th baseline, and leaves its trials in the cache. The evaluation then finds them there,
and trains what a worker has not.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from d3data.errors import DataError
from d3data.evaluation.planner import EvaluationOptions, EvaluationPlan
from d3data.evaluation.protocols import Protocol
from d3data.utils.device import find_resources
from d3data.utils.progress import Progress, ReportProgress

WORKER = "d3data.evaluation.worker"


def deal(
    data: Any,
    task: Any,
    options: EvaluationOptions,
    whole: EvaluationPlan,
    progress: ReportProgress,
) -> None:
    """Train the networks of `whole` in `options.workers` processes, at most one a seed.

    Raises:
        DataError: the set, the images or the networks have no names that a worker could be told.
    """
    count = min(options.workers, len(whole.seeds))
    if count < 2:
        return
    resources = find_resources(str(options.device), count)
    seen = replace(options, device=resources.device)  # a worker sees one GPU, which is its first
    told = _told(data, task, seen, keep=whole.keep)
    with _started(told, count, resources.devices) as workers:
        for report in _reports(workers):
            progress(report)


def _told(data: Any, task: Any, options: EvaluationOptions, *, keep: bool) -> str:
    named = isinstance(data, str | Path) and (task is None or isinstance(task, str))
    if not (named and keep):
        raise DataError(
            "workers are told names: with workers, pass the name or the path of a set and the "
            "name of a task, no networks or training loop of your own, and resume=True"
        )
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    if isinstance(options.protocol, Protocol):
        values["protocol"] = options.protocol.dump()
    lists = {key: [*value] for key, value in values.items() if isinstance(value, range | tuple)}
    return json.dumps([str(data), task, values | lists], default=str)


@contextmanager
def _started(
    told: str, count: int, devices: Sequence[str]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    workers = []
    try:
        for number in range(count):
            environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
            if devices:
                environment["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
            command = [sys.executable, "-m", WORKER, str(number), str(count), told]
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            own: Any = {"env": environment, "start_new_session": True}
            workers.append(subprocess.Popen(command, **pipes, **own))  # noqa: S603
        yield workers
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGINT)  # it saves the trial it is at
        for worker in workers:
            worker.wait()  # its stdin must be open until then
            worker.communicate()


def _reports(workers: Sequence[subprocess.Popen[bytes]]) -> Iterator[Progress]:
    """What workers say of their progress, until the last has ended."""
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def listen(worker: subprocess.Popen[bytes]) -> None:
        assert worker.stdout is not None
        for line in worker.stdout:
            lines.put(line)
        lines.put(None)

    for worker in workers:
        threading.Thread(target=listen, args=(worker,), daemon=True).start()
    left = len(workers)
    while left:
        line = lines.get()
        if line is None:
            left -= 1
        elif line.endswith(b"\n"):
            yield Progress(**json.loads(line))
