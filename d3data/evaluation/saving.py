"""Trials that outlive the process: the finished ones, and where the current one is."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d3data.distill.checkpoint import Checkpoint
from d3data.distill.workbench import Stateful
from d3data.errors import D3DataError, RunError
from d3data.evaluation.record import Trial
from d3data.files import write_json

EVERY = 60.0  # seconds between two checkpoints of a trial
CACHE = "XDG_CACHE_HOME"


@dataclass(frozen=True)
class Desk:
    """The folder of one evaluation in progress; the same evaluation finds it again."""

    folder: Path

    @classmethod
    def of(cls, what: Sequence[Any], root: Path | None = None) -> "Desk":
        """The desk of the evaluation that `what`, JSON values, decides all of."""
        return cls((root or _cache()) / _hashed(what))

    def within(self, name: str) -> "Desk":
        """A part of it, for trials that would else be called like others."""
        return Desk(self.folder / _hashed(name))

    def slot(self, *name: str | float) -> "Slot":
        """Where one trial is kept."""
        return Slot(self.folder / _hashed(name))

    def clear(self) -> None:
        """Nothing of it is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Slot:
    """One trial: its checkpoint while it lasts, its record afterwards."""

    def __init__(self, path: Path) -> None:
        self._record = path.with_suffix(".json")
        self._checkpoint = Checkpoint(path.with_suffix(".safetensors"), every_seconds=EVERY)

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self._checkpoint.due

    def finished(self) -> Trial | None:
        """The record, if the trial was finished; one that cannot be read was not."""
        try:
            page = json.loads(self._record.read_text("utf-8"))
            return Trial.parse(page, where=str(self._record))
        except (OSError, ValueError, TypeError, D3DataError):
            return None

    def restore(self, objects: Mapping[str, Stateful]) -> int:
        """Give `objects` the state that was saved, if it can be read; the step that comes next."""
        try:
            saved = self._checkpoint.read()
        except RunError:
            saved = None
        if saved is None:
            return 0
        for name, thing in objects.items():
            thing.load_state_dict(saved.states[name])
        return saved.step

    def save(self, step: int, objects: Mapping[str, Stateful]) -> None:
        """Keep the state of `objects` before `step`."""
        self._checkpoint.save("trial", step, objects)

    def finish(self, trial: Trial) -> None:
        """Keep the record, and no checkpoint."""
        write_json(self._record, trial.dump())
        self._checkpoint.path.unlink(missing_ok=True)


def _hashed(what: Any) -> str:
    """A file name for JSON values."""
    text = json.dumps(what, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _cache() -> Path:
    root = os.environ.get(CACHE) or Path.home() / ".cache"
    return Path(root) / "d3data" / "evaluations"
