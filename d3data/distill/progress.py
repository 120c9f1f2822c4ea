"""The progress of a job: to whoever watches, and into the subtask's `metrics.jsonl`."""

import errno
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from d3data.errors import RunError
from d3data.nets.training import Watch

REPORT_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class JobProgress:
    """A job has taken `step` of the `steps` of a stage; the last one's loss was `loss`."""

    stage: str
    step: int
    steps: int
    loss: float


Report = Callable[[JobProgress], None]

START: Mapping[str, float] = {"bytes": 0, "seconds": 0.0}  # the state of an empty log


def throttled(report: Report, *, seconds: float = REPORT_EVERY) -> Report:
    """Report at most every so many seconds, but always a stage's first and last step."""
    stage, last = "", 0.0

    def limited(progress: JobProgress) -> None:
        nonlocal stage, last
        ends = progress.stage != stage or progress.step == progress.steps
        if ends or time.monotonic() - last >= seconds:
            stage, last = progress.stage, time.monotonic()
            report(progress)

    return limited


def watching(report: Report, stage: str, steps: int) -> Watch:
    """A watch over a stage that reports every step."""

    def watch(step: int, loss: Tensor) -> None:
        report(JobProgress(stage, step + 1, steps, loss.item()))

    return watch


class MetricsLog:
    """Appends a line to the file at `path` for every step: stage, step, loss, seconds of work.

    It has a state that is part of the checkpoint: restoring it cuts off the lines of the steps
    that will be taken again.
    """

    def __init__(self, path: Path, report: Report) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._report = path, report
        self._file = path.open("ab", buffering=0)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def seconds(self) -> float:
        """The seconds of work so far, those before restarts included."""
        return time.monotonic() - self._began

    def add(self, progress: JobProgress) -> None:
        """Write a line and report it.

        Raises:
            RunError: the disk is full.
        """
        line = json.dumps({**asdict(progress), "seconds": round(self.seconds, 3)}).encode() + b"\n"
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as failure:
            raise cannot_log(self.path, failure) from failure
        self._report(progress)

    def state_dict(self) -> dict[str, float]:
        """Bring all lines to the disk, and return their bytes and the seconds of work."""
        os.fsync(self._file.fileno())
        return {"bytes": self.path.stat().st_size, "seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut off what came after `state`; `START` empties the file."""
        self._file.truncate(min(int(state["bytes"]), self.path.stat().st_size))
        self._began = time.monotonic() - state["seconds"]


def cannot_log(path: Path, failure: OSError) -> RunError:
    """The error for a log that cannot be written."""
    return RunError(
        f"cannot write {path}: {failure.strerror}; free some space and repeat: the run resumes "
        "from its last checkpoint"
    )
