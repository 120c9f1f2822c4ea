"""The status of a run, read from its folder while any process on any machine works on it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d3data.artifact.manifest import NAME as MANIFEST
from d3data.distill.driver import LOG
from d3data.distill.jobs import read_state, subtask_folder
from d3data.distill.recipe import load_recipe
from d3data.distill.runs import LOCK, RECIPE, read_environment
from d3data.errors import RunError
from d3data.utils.lock import Holder, holder

TAIL = 1 << 16  # bytes of a log that are read


@dataclass(frozen=True)
class SubtaskStatus:
    """How far one subtask is; `stage` is waiting, warm start, distill, quantize or done.

    `seconds` is the work so far and `seconds_left` that of the rest of the stage, if it is known.
    """

    number: int
    classes: tuple[int, ...]
    stage: str
    step: int = 0
    steps: int = 0
    loss: float | None = None
    seconds: float = 0.0
    seconds_left: float | None = None


@dataclass(frozen=True)
class Status:
    """How far a run is: `done` of its `total` jobs; `driver` is the process that works on it."""

    recipe: str
    identity: str
    driver: Holder | None
    done: int
    total: int
    subtasks: tuple[SubtaskStatus, ...]
    artifact: Path | None
    last_failure: str | None


def status(folder: str | Path) -> Status:
    """Read how far the run in `folder` is.

    Raises:
        RunError: it is not a run, or its files are broken.
    """
    folder = Path(folder)
    if not (folder / RECIPE).exists():
        raise RunError(f"{folder} is not a run: it has no {RECIPE}")
    recipe = load_recipe(folder / RECIPE)
    blocks = recipe.subtasks.split(read_environment(folder)["classes"])
    events = _lines(folder / LOG, {"what", "done", "total"})
    last = events[-1] if events else {}
    failures = [event for event in events if event["what"] == "failed"]
    return Status(
        recipe=recipe.name,
        identity=recipe.identity,
        driver=holder(folder / LOCK),
        done=int(last.get("done", 0)),
        total=int(last.get("total", 0)),
        subtasks=tuple(
            _subtask(subtask_folder(folder, number), number, tuple(sorted(block)))
            for number, block in enumerate(blocks)
        ),
        artifact=folder / "artifact" if (folder / "artifact" / MANIFEST).exists() else None,
        last_failure=": ".join(failures[-1].get(key, "") for key in ("job", "message"))
        if failures
        else None,
    )


def _subtask(folder: Path, number: int, classes: tuple[int, ...]) -> SubtaskStatus:
    state = read_state(folder)
    lines = _lines(folder / "metrics.jsonl", {"stage", "step", "steps", "loss", "seconds"})
    if not lines:
        return SubtaskStatus(number, classes, "done" if state else "waiting")
    last = lines[-1]
    first = next(line for line in lines if line["stage"] == last["stage"])
    steps, left = last["step"] - first["step"], None
    if steps and not state:
        left = (last["seconds"] - first["seconds"]) / steps * (last["steps"] - last["step"])
    return SubtaskStatus(
        number=number,
        classes=classes,
        stage="done" if state else last["stage"],
        step=last["step"],
        steps=last["steps"],
        loss=last["loss"],
        seconds=state.get("seconds", last["seconds"]),
        seconds_left=left,
    )


def _lines(path: Path, keys: set[str]) -> list[Mapping[str, Any]]:
    """The last whole lines of a log that have these keys, from its last `TAIL` bytes."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - TAIL))
            text = file.read()
    except OSError:
        return []
    whole = text[: text.rfind(b"\n") + 1].splitlines()
    records = map(_record, whole[1:] if size > TAIL else whole)
    return [record for record in records if record.keys() >= keys]


def _record(line: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:  # a crash has cut it off
        return {}
    return record if isinstance(record, dict) else {}
