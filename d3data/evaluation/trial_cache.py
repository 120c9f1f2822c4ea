"""Trials that outlive the process: the finished ones, and where the current one is."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d3data.errors import D3DataError, RunError
from d3data.evaluation.record import Trial
from d3data.nets.checkpoint import Checkpoint, Stateful
from d3data.utils.atomic import write_bytes, write_json

EVERY = 60.0  # seconds between two checkpoints of a trial
CACHE = "XDG_CACHE_HOME"
RECORD, CHECKPOINT = ".json", ".safetensors"


@dataclass(frozen=True)
class Desk:
    """The folder of trials that evaluations have in common, and the claim that one lays to them.

    An evaluation that is stopped leaves its claims: what others finish takes nothing from it.
    """

    folder: Path
    claim: str

    @classmethod
    def of(cls, what: Sequence[Any], *, whose: Sequence[Any]) -> "Desk":
        """The desk of trials that `what`, JSON values, decides the numbers of.

        Args:
            what: the set, the real images, the protocol and the machine.
            whose: what tells an evaluation from others of these.
        """
        return cls(_cache() / _hashed(what), _hashed(whose))

    def within(self, name: str) -> "Desk":
        """A part of it, for trials that would else be called like others."""
        return Desk(self.folder / _hashed(name), self.claim)

    def slot(self, *name: str | float) -> "Slot":
        """Where one trial is kept until nobody claims it.

        Raises:
            RunError: the folder cannot be written.
        """
        path = self.folder / _hashed(name)
        write_bytes(path.with_suffix(f".{self.claim}"), b"")
        return Slot(path)

    def clear(self) -> None:
        """This evaluation needs nothing of it any more."""
        for mine in self.folder.rglob(f"*.{self.claim}"):
            mine.unlink()
            left = list(mine.parent.glob(f"{mine.stem}.*"))
            if {file.suffix for file in left} <= {RECORD, CHECKPOINT}:
                for file in left:
                    file.unlink()
        for folder in sorted([self.folder, *self.folder.rglob("*/")], reverse=True):
            with contextlib.suppress(OSError):  # it is not empty, or is no folder
                folder.rmdir()


class Slot:
    """One trial: its checkpoint while it lasts, its record afterwards."""

    def __init__(self, path: Path) -> None:
        self._record = path.with_suffix(RECORD)
        self._checkpoint = Checkpoint(path.with_suffix(CHECKPOINT), every_seconds=EVERY)

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
