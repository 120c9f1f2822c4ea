"""An evaluation dealt out to an executor: each job trains a share of its networks.

A job makes the same plan from the names that it is told, trains the n-th network on the set and
every n-th baseline, and leaves its trials in the cache. The evaluation then finds them there, and
trains what is missing.
"""

import json
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from d3data.errors import DataError
from d3data.evaluation.evaluation_plan import EvaluationPlan
from d3data.evaluation.planner import EvaluationOptions, plan
from d3data.evaluation.protocols import Protocol
from d3data.executors.base import Executor, Failed, Job, Memory
from d3data.executors.processes import Processes
from d3data.utils.device import find_resources
from d3data.utils.progress import Progress, ReportProgress


class Share(Job):
    """Train number `number` of each `count` networks on a set, and baselines."""

    data: str
    task: str | None
    options: dict[str, Any]
    number: int
    count: int

    def perform(self, report: ReportProgress, memory: Memory) -> None:
        values = dict(self.options)
        if isinstance(values["protocol"], dict):
            values["protocol"] = Protocol.parse(values["protocol"], where="the protocol")
        planned = plan(self.data, self.task, EvaluationOptions(**values)).kept_in(self.folder)
        planned.train(self.number, self.count, progress=report)

    @property
    def writes(self) -> tuple[Path, ...]:
        return (self.folder,)


def deal(
    data: Any,
    task: Any,
    options: EvaluationOptions,
    whole: EvaluationPlan,
    progress: ReportProgress,
) -> None:
    """Train the networks of `whole` by `options.executor`, each seed a job.

    Without one, in `options.workers` processes, at most one a seed.

    Raises:
        DataError: the set, the images or the networks have no names that a worker could be told.
        D3DataError: the executor's cluster cannot train them.
    """
    cluster, count = options.executor, len(whole.seeds)
    executor: Executor
    if cluster is not None:
        if options.minutes is not None:
            raise DataError("minutes are those of this machine: on a cluster, give seeds instead")
        executor, resources = cluster, cluster.resources(str(options.device))
    else:
        count = min(options.workers, count)
        if count < 2:
            return
        resources = find_resources(str(options.device), count)
        executor = Processes(count, resources.devices)
    # a worker's GPU is its first
    seen = replace(options, device=resources.device, workers=1, executor=None)
    shares = _shares(data, task, seen, whole, count)
    with closing(executor.run(shares, watch=lambda _, at: progress(at))) as outcomes:
        for outcome in outcomes:
            if not isinstance(outcome, Failed):
                continue
            if cluster is not None and outcome.last:
                raise outcome.error
            told = f"attempt {outcome.attempt}: {outcome.error}"  # it is trained here, or fails
            progress(Progress(outcome.job.name, event="failed", message=told))


def _shares(
    data: Any, task: Any, options: EvaluationOptions, whole: EvaluationPlan, count: int
) -> list[Share]:
    named = isinstance(data, str | Path) and (task is None or isinstance(task, str))
    if not (named and whole.keep):
        raise DataError(
            "workers are told names: with workers, pass the name or the path of a set and the "
            "name of a task, no networks or training loop of your own, and resume=True"
        )
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    if isinstance(options.protocol, Protocol):
        values["protocol"] = options.protocol.dump()
    lists = {key: [*value] for key, value in values.items() if isinstance(value, range | tuple)}
    common: dict[str, Any] = {
        "folder": whole.cache.folder,
        "device": str(options.device),
        "threads": whole.threads,
        "data": str(data),
        "task": task,
        "options": json.loads(json.dumps(values | lists, default=str)),
        "count": count,
    }
    return [Share(name=f"share {n + 1} of {count}", number=n, **common) for n in range(count)]
