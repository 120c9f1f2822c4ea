"""How far a run is, read from its folder, whoever drives it and wherever."""

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
from d3data.distill.runs import RECIPE, read_environment
from d3data.errors import RunError
from d3data.utils.lock import Holder, holder

TAIL = 1 << 16  # bytes of a log that are looked at


@dataclass(frozen=True)
class SubtaskStatus:
    """How far one subtask is; `stage` is waiting, warm start, distill or done.

    `seconds` is the work so far and `seconds_left` that of the rest of the stage, if it is known.
    """

    number: int
    classes: tuple[int, ...]
    stage: str
    step: int
    steps: int
    loss: float | None
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True)
class Status:
    """How far a run is: so many of its `total` jobs are `done`; `driver` is who drives it now."""

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
        driver=holder(folder),
        done=int(last.get("done", 0)),
        total=int(last.get("total", 0)),
        subtasks=tuple(
            _subtask(subtask_folder(folder, number), number, tuple(sorted(block)))
            for number, block in enumerate(blocks)
        ),
        artifact=folder / "artifact" if (folder / "artifact" / MANIFEST).exists() else None,
        last_failure=_spell(failures[-1]) if failures else None,
    )


def _subtask(place: Path, number: int, classes: tuple[int, ...]) -> SubtaskStatus:
    state = read_state(place)
    lines = _lines(place / "metrics.jsonl", {"stage", "step", "steps", "loss", "seconds"})
    if not lines:
        return SubtaskStatus(
            number, classes, "done" if state else "waiting", 0, 0, None, 0.0, None
        )
    last = lines[-1]
    first = next(line for line in lines if line["stage"] == last["stage"])
    steps = last["step"] - first["step"]
    left = None
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


def _spell(failure: Mapping[str, Any]) -> str:
    return f"{failure.get('job', '')}: {failure.get('message', '')}"


def _lines(path: Path, keys: set[str]) -> list[Mapping[str, Any]]:
    """The last whole lines of a log that have these keys, as much of it as `TAIL` holds.

    A line that a crash has torn is left out.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - TAIL))
            text = file.read()
    except OSError:
        return []
    whole = text[: text.rfind(b"\n") + 1].splitlines()
    read = [_read(line) for line in (whole[1:] if size > TAIL else whole)]
    return [line for line in read if line.keys() >= keys]


def _read(line: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
