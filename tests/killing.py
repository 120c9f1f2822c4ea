"""Processes that export a set and are killed on the way."""

import itertools
import os
import signal
from pathlib import Path
from typing import Any

import tiny_runs as runs
from d3data import artifact
from d3data.data.dataset import DistilledDataset
from d3data.data.export import export

STEPS = [
    (os, "fsync"), (os, "sync"), (os, "unlink"), (os, "rmdir"),
    *((Path, name) for name in ("mkdir", "rename", "replace", "touch", "unlink", "write_bytes")),
]  # fmt: skip


def dies(
    data: DistilledDataset, out: Path, *, step: int = -1, seconds: float | None = None, **how: Any
) -> bool:
    """Whether a process is killed while it exports: before a step on the disk, or in time."""
    process = runs.PROCESSES.Process(target=_work, args=(data.artifact.folder, out, step, how))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _work(folder: Path, out: Path, step: int, how: dict[str, Any]) -> None:
    data, count = DistilledDataset(artifact.read(folder)), itertools.count()

    def counted(function: Any) -> Any:
        def before(*arguments: Any, **more: Any) -> Any:
            if next(count) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **more)

        return before

    for place, name in STEPS:
        setattr(place, name, counted(getattr(place, name)))
    export(data, out, **how)
