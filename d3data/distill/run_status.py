"""How far a run is, read from its folder."""

import contextlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from d3data.artifact.manifest import NAME as MANIFEST
from d3data.distill.driver import LOG
from d3data.distill.jobs import Result, subtask_folder
from d3data.distill.recipe_files import get_recipe
from d3data.errors import RunError
from d3data.utils.lock import Holder, holder

RECIPE, ENVIRONMENT, LOCK = "recipe.toml", "env.json", ".lock"
TAIL = 1 << 16  # bytes of a log that are read for a status


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
    """How far a run is: `done` of its `total` jobs; `driver` is the process that works on it.

    `stages` has the same numbers for images, experts, subtasks and labels, where it is known;
    `command` resumes the run.
    """

    recipe: str
    identity: str
    command: str
    stages: Mapping[str, tuple[int, int]]
    driver: Holder | None
    done: int
    total: int
    subtasks: tuple[SubtaskStatus, ...]
    artifact: Path | None
    last_failure: str | None


def status(folder: str | Path) -> Status:
    """Read how far the run in `folder` is; RunError if it is none, or its files are broken."""
    folder = Path(folder)
    if (folder / MANIFEST).exists():
        raise RunError(f"{folder} is the set that a run made; the run is {folder.parent}")
    for name, others in ((RECIPE, ()), (ENVIRONMENT, (LOG,))):  # init writes a recipe beside none
        if not any((folder / each).exists() for each in (name, *others)):
            raise RunError(
                f"{folder} is not a run: it has no {name}; `d3data distill` makes one, runs/NAME "
                "unless --out says another"
            )
    recipe = get_recipe(folder / RECIPE)
    started = read_environment(folder)
    blocks = recipe.subtasks.split(started["classes"])
    events = _lines(folder / LOG, {"what", "done", "total"})
    last = events[-1] if events else {}
    failures = [event for event in events if event["what"] == "failed"]
    return Status(
        recipe=recipe.name,
        identity=recipe.identity,
        command=_command(folder, started.get("options", {})),
        stages=_stages(started.get("jobs", {}), int(last.get("done", 0))),
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


def _command(folder: Path, options: Mapping[str, str | list[str]]) -> str:
    words = [str(folder / RECIPE), "--out", str(folder)]
    for name, value in options.items():
        for each in [value] if isinstance(value, str) else value:
            words += [f"--{name}", *([each] if each else [])]
    return f"d3data distill {shlex.join(words)}"


def _stages(jobs: Mapping[str, int], done: int) -> Mapping[str, tuple[int, int]]:
    """How many jobs of each stage are done, of `done` in all: one stage follows another."""
    before = accumulate(jobs.values(), initial=0)
    return {
        stage: (min(max(done - first, 0), count), count)
        for (stage, count), first in zip(jobs.items(), before, strict=False)
        if count
    }


def _subtask(folder: Path, number: int, classes: tuple[int, ...]) -> SubtaskStatus:
    state = Result(folder / "result.safetensors", folder / "state.json").state
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
    whole, records = text[: text.rfind(b"\n") + 1].splitlines(), []
    for line in whole[1:] if size > TAIL else whole:
        with contextlib.suppress(ValueError):  # a crash has cut it off
            records.append(json.loads(line))
    return [record for record in records if isinstance(record, dict) and record.keys() >= keys]


def read_environment(folder: Path) -> Mapping[str, Any]:
    """What `env.json` of a run says; RunError if it is missing or broken."""
    try:
        page: Mapping[str, Any] = json.loads((folder / ENVIRONMENT).read_bytes())
        keys = {"versions", "device", "fingerprint", "classes", "threads"}
        if missing := keys - page.keys():
            raise KeyError(*missing)
        return page
    except (OSError, ValueError, TypeError, KeyError) as failure:
        raise RunError(
            f"{folder / ENVIRONMENT} is missing or broken ({failure!r}), so the run cannot be "
            "resumed: choose another folder"
        ) from None
