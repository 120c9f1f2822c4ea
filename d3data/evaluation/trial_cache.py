"""Trials on disk, so that an evaluation that was stopped can go on: records and checkpoints."""

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d3data.errors import D3DataError, RunError
from d3data.evaluation.record import Trial
from d3data.executors.base import LOCK
from d3data.nets.checkpoint import Checkpoint, Stateful
from d3data.utils.atomic import write_bytes, write_json

EVERY = 60.0  # seconds between two checkpoints of a trial
RECORD, CHECKPOINT = ".json", ".safetensors"


@dataclass(frozen=True)
class TrialCache:
    """The trials of one evaluation, in a folder that it shares with others of the same settings.

    An entry has a reference, an empty file, for each evaluation that uses it; it is removed with
    the last of them. An evaluation that is stopped leaves its references behind.
    """

    folder: Path
    owner: str

    @classmethod
    def of(cls, settings: Sequence[Any], *, owner: Sequence[Any]) -> "TrialCache":
        """The cache of an evaluation.

        `settings` are JSON values of all that decides the numbers of its trials, `owner` of what
        tells it from other evaluations with these settings.
        """
        root = os.environ.get("XDG_CACHE_HOME")
        try:
            root = root or str(Path.home() / ".cache")
        except RuntimeError:  # there is no home
            root = tempfile.gettempdir()
        return cls(Path(root) / "d3data" / "evaluations" / _hashed(settings), _hashed(owner))

    def within(self, name: str) -> "TrialCache":
        """A subfolder of it, for trials whose names would be taken otherwise."""
        return TrialCache(self.folder / _hashed(name), self.owner)

    def entry(self, *name: str | float) -> "TrialEntry | None":
        """The entry of one trial, with a reference of this evaluation; None if refused, warned."""
        path = self.folder / _hashed(name)
        try:
            write_bytes(path.with_suffix(f".{self.owner}"), b"")
        except RunError as failure:
            warnings.warn(
                f"trials are not kept, so that an evaluation that is stopped begins anew "
                f"({failure}): let XDG_CACHE_HOME name a folder that can be written",
                stacklevel=2,
            )
            return None
        return TrialEntry(path)

    def clear(self) -> None:
        """Remove the references of this evaluation, and what has no other."""
        for reference in self.folder.rglob(f"*.{self.owner}"):
            reference.unlink()
            files = list(reference.parent.glob(f"{reference.stem}.*"))
            if {file.suffix for file in files} <= {RECORD, CHECKPOINT}:
                for file in files:
                    file.unlink()
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        if files == [self.folder / LOCK]:
            files[0].unlink(missing_ok=True)
        for folder in sorted([self.folder, *self.folder.rglob("*/")], reverse=True):
            with contextlib.suppress(OSError):  # it is not empty, or is no folder
                folder.rmdir()


class TrialEntry:
    """One trial on disk: its checkpoint while it is trained, its record afterwards."""

    def __init__(self, path: Path) -> None:
        self._record = path.with_suffix(RECORD)
        self._checkpoint = Checkpoint(path.with_suffix(CHECKPOINT), every_seconds=EVERY)

    @property
    def due(self) -> bool:
        return self._checkpoint.due

    def finished(self) -> Trial | None:
        """The record of the trial; None if it is not finished, or the record cannot be read."""
        try:
            page = json.loads(self._record.read_text("utf-8"))
            return Trial.parse(page, where=str(self._record))
        except (OSError, ValueError, TypeError, D3DataError):
            return None

    def restore(self, objects: Mapping[str, Stateful]) -> int:
        """Load the checkpoint into `objects`, if there is one that can be read; the next step."""
        with contextlib.suppress(RunError):
            if saved := self._checkpoint.read():
                for name, thing in objects.items():
                    thing.load_state_dict(saved.states[name])
                return saved.step
        return 0

    def save(self, step: int, objects: Mapping[str, Stateful]) -> None:
        """Write a checkpoint of `objects`, as they are before `step`."""
        self._checkpoint.save("trial", step, objects)

    def finish(self, trial: Trial) -> None:
        write_json(self._record, trial.dump())
        self._checkpoint.path.unlink(missing_ok=True)


def _hashed(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
