"""Tiny recipes and processes that run them, for tests of runs."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from d3data import distill
from d3data.distill import Recipe

PROCESSES = multiprocessing.get_context("forkserver")  # forks of a process that has imported all
PROCESSES.set_forkserver_preload(
    [
        "d3data.distill",
        "d3data.data.export",
        "d3data.publishing",
        "huggingface_hub.hf_api",
        "pyarrow.parquet",
        "sklearn.datasets",
        "sklearn.mixture",
        "torch._dynamo",
    ]
)

EXPERTS = {
    "count": 2,
    "epochs": 2,
    "batch": 512,
    "augment": "none",
    "network": {"width": 4, "depth": 1},
}
MTT = {
    "kind": "mtt",
    "student_steps": 2,
    "expert_epochs": 1,
    "max_start_epoch": 1,
    "experts": EXPERTS,
}
DM = {"kind": "dm", "samples": 2, "real": 4, "network": {"width": 4, "depth": 1}}
MTT_AND_DM = {"kind": "alternate", "children": [MTT, DM]}
GAUSSIAN = {"kind": "gaussian", "decoder": {"family": "small", "width": 8, "noise": 4}}
OPTIMIZERS = {
    "priors": {"learning_rate": 0.01},
    "decoder": {"learning_rate": 0.001, "schedule": "cosine"},
    "step_size": {"kind": "sgd", "learning_rate": 0.0001},
}


def values(**changed: Any) -> dict[str, Any]:
    """What a tiny recipe says: warm start, then mean matching of the digits."""
    usual = {
        "name": "tiny",
        "seed": 3,
        "steps": 6,
        "items_per_class": 2,
        "draws_per_class": 4,
        "task": {"name": "digits"},
        "source": GAUSSIAN,
        "warm_start": {"steps": 4, "batch": 16, "width": 4},
        "objective": DM,
        "optimizers": OPTIMIZERS,
    }
    return usual | changed


def recipe(**changed: Any) -> Recipe:
    """A tiny recipe."""
    return Recipe.parse(values(**changed), where="a tiny recipe")


def start(recipe: Recipe, out: Path, **more: Any) -> Any:
    """A process that runs a recipe, saving itself all the time, in the environment of now."""
    options = {"out": out, "executor": "inline", "workers": 1, "save_every": 0.05} | more
    process = PROCESSES.Process(target=_run, args=(recipe, dict(os.environ), options))
    process.start()
    return process


def _run(recipe: Recipe, environment: dict[str, str], options: dict[str, Any]) -> None:
    os.environ.clear()  # that of the server which forks
    os.environ.update(environment)
    distill.run(recipe, **options)


def finish(recipe: Recipe, out: Path, **more: Any) -> None:
    """Run a recipe to its end in a process of its own."""
    process = start(recipe, out, **more)
    process.join()
    assert process.exitcode == 0


def outcome(out: Path) -> dict[str, Any]:
    """All that a finished run's tensors and losses are: by file, its bytes or its lines."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        if path.name == "result.safetensors" or path.parent.name == "parts":
            found[str(path.relative_to(out))] = path.read_bytes()
        if path.name == "metrics.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            steps = [(line["stage"], line["step"], line["loss"]) for line in lines]
            found[str(path.relative_to(out))] = steps
    return found


@contextlib.contextmanager
def command(*words: Any, **options: Any) -> Iterator[Any]:
    """A process of the command line, which is gone at the end of the block."""
    code = "from d3data.cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", code, *map(str, words)], **options) as process:
        try:
            yield process
        finally:
            process.kill()


def until(happens: Any, *, seconds: float = 300) -> Any:
    """Wait for something to be true, but not for ever."""
    end = time.monotonic() + seconds
    while not (value := happens()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return value


def children(pid: int) -> list[int]:
    """The living processes that a process has started."""
    return [int(p.name) for p in Path("/proc").glob("[0-9]*") if _status(p)[:1] == [str(pid)]]


def parent(pid: int) -> int:
    """The process that started another."""
    return int(_status(Path(f"/proc/{pid}"))[0])


def lives(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    return bool(_status(Path(f"/proc/{pid}")))


def _status(place: Path) -> list[str]:
    with contextlib.suppress(OSError):
        state, parent, *_ = (place / "stat").read_text().rpartition(")")[2].split()
        if state not in "ZX":
            return [parent]
    return []


def soaking() -> bool:
    """Whether the long suites shall run whole."""
    return os.environ.get("D3DATA_SOAK") == "1"
