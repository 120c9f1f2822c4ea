"""An objective with a trap, in which something fails once; jobs that say where they are."""

import errno
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import tiny_runs as runs
from d3data.distill import Objective, Recipe, sample_items, sample_real
from d3data.executors.base import Job
from d3data.utils.progress import Progress

STEPS = 8
FAULTS = ("worker", "driver", "disk", "exception")
OF_RAY = (*FAULTS, "task", "node")  # a process of Ray's above the worker, and the one above that
OF_SUBMITIT = (*FAULTS, "task", "preempted")
OF_SLURM = (*OF_SUBMITIT, "queued again", "cancelled")


class Trapped(Objective):
    """Mean images; at a step that is written in the file `trap`, a fault that is written there."""

    kind: str = "faulty:Trapped"
    trap: str = ""

    def losses(self, source, context):
        for step in context.step_range:
            spring(Path(self.trap), step)
            rng = context.rng("trapped", step)
            items = sample_items(source, 2, rng)
            real = sample_real(context, 2, rng)
            drawn = source.images(items.flatten(), rng).unflatten(0, items.shape)
            yield (drawn.mean(1) - real.mean(1)).square().sum()


def recipe(trap: Path | str = "", **changed: Any) -> Recipe:
    """Two subtasks of pictures, each of one class."""
    values = {
        "name": "trapped",
        "task": {"name": "toys"},
        "source": {"kind": "pixels"},
        "items_per_class": 2,
        "objective": {"kind": "faulty:Trapped", "trap": str(trap)},
        "optimizers": {"pixels": {"learning_rate": 0.1}},
        "steps": STEPS,
        "subtasks": {"count": 2},
    }
    return Recipe.parse(values | changed, where="a recipe with a trap")


def set_trap(path: Path, fault: str, step: int) -> None:
    path.write_text(json.dumps([fault, step]))


def spring(trap: Path, step: int) -> None:
    """Once, at its step, do what the trap says."""
    if not trap.is_file() or json.loads(trap.read_text())[1] > step:
        return
    fault, _ = json.loads(trap.read_text())
    trap.unlink()
    if fault == "exception":
        raise ValueError("a fault")
    if fault == "disk":
        os.fsync = full(os.fsync)
        return
    above = runs.parent(os.getpid())
    pids = {"worker": os.getpid, "task": lambda: above, "node": lambda: runs.parent(above)}
    pids["driver"] = lambda: json.loads((trap.parent / "run/.lock-holder").read_text())["pid"]
    if fault == "preempted":
        os.kill(above, signal.SIGUSR2)
        time.sleep(1)  # for then it reports
        return
    if fault == "queued again":
        subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
    elif fault == "cancelled":
        subprocess.run(["scancel", os.environ["SLURM_JOB_ID"]], check=True)
    else:
        os.kill(pids[fault](), signal.SIGKILL)
    time.sleep(60)  # until it is ended


def full(sync: Any) -> Any:
    """The disk is full, once."""

    def refuse(_: int) -> None:
        os.fsync = sync
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return refuse


class Where(Job):
    """Says which devices it sees, then waits until as many as there are say so too."""

    count: int

    def perform(self, report, memory):
        (self.folder / self.name).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        runs.until(lambda: len([*self.folder.glob("where*")]) == self.count)
        report(Progress("where", 1, 1))


def workers(token: str) -> list[int]:
    """The worker processes whose environment has the token."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command, said = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
        except OSError:
            continue
        if b"d3data.executors.worker" in command and token.encode() in said:
            found.append(int(place.name))
    return found
