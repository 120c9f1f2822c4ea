"""Writes a folder of many files as a whole or not at all; an interrupted export is resumed."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from d3data.errors import ExportError, RunError
from d3data.utils.atomic import write_bytes, write_json
from d3data.utils.lock import hold, lock_files

RECORD = "export.json"
_LOCK = "lock"
_LOCK_FILES = lock_files(Path(_LOCK))
_OURS = {RECORD, *_LOCK_FILES, "done", "pieces", "whole"}


def place(out: str | Path) -> Path:
    """The folder to write, as an absolute path."""
    try:
        folder = Path(out).expanduser().absolute()
    except (RuntimeError, TypeError) as fault:
        raise ExportError(f"{out!r} is not a folder: {fault}") from None
    if not folder.name or "\0" in str(folder):
        raise ExportError(f"{str(out)!r} is not a valid folder name: choose another")
    return folder


class ResumableExport:
    """The hidden folder beside `out` in which an export is built, and how far it is.

    export.json    what is exported
    lock           held by the process that builds it
    done/00000     an empty file for every shard that is on the disk
    pieces/        parts of files that are joined at the end
    whole/         renamed to `out` when it is complete
    """

    def __init__(self, out: Path) -> None:
        self.out, self.folder = out, out.with_name(f".{out.name}.partial")
        self.whole, self.pieces = self.folder / "whole", self.folder / "pieces"

    @contextlib.contextmanager
    def building(self, about: Mapping[str, Any]) -> Iterator[None]:
        """Begin the export that `about` describes, or resume it; on leaving, move it to `out`."""
        with self._held():
            self._begin(about)
            yield
            write_json(self.whole / RECORD, about)
            os.sync()
            self.whole.rename(self.out)
            shutil.rmtree(self.folder)

    def is_done(self, shard: int) -> bool:
        return self._mark(shard).exists()

    def done(self, shard: int) -> None:
        """Record that a shard is on the disk."""
        write_bytes(self._mark(shard), b"")

    def tidy(self, about: Mapping[str, Any]) -> None:
        """Delete the hidden folder of an export that is complete at `out`, if there is one."""
        if self.folder.exists() and _read_record(self.folder) in (None, about):
            with contextlib.suppress(ExportError), self._held():
                shutil.rmtree(self.folder)

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Raise ExportError for a full disk and the like, and say how to resume."""
        try:
            yield
        except (OSError, RunError) as failure:
            cause = failure.__cause__ or failure
            number = getattr(cause, "errno", None)
            reason = cause if number is None else os.strerror(number)
            raise ExportError(
                f"cannot write {self.out}: {reason}; finished shards are kept in {self.folder}: "
                "free some space or fix the cause, then repeat to resume"
            ) from failure

    def _mark(self, shard: int) -> Path:
        return self.folder / "done" / f"{shard:05d}"

    def _begin(self, about: Mapping[str, Any]) -> None:
        if os.path.lexists(self.out):
            raise ExportError(f"another process has just made {self.out}: repeat to see of what")
        if _read_record(self.folder) is None or not self.whole.exists():
            for path in self.folder.iterdir():  # nothing is begun, or all was renamed
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name not in _LOCK_FILES:
                    path.unlink()
            write_json(self.folder / RECORD, about)
        require_same(self.folder, about)
        for folder in (self.whole, self.pieces, self.folder / "done"):
            folder.mkdir(exist_ok=True)
        for left in self.folder.rglob(".*"):  # temporary files of a process that was killed
            left.unlink()

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Keep other processes out, until this one leaves or ends."""

        def taken(holder: str) -> ExportError:
            return ExportError(
                f"{self.out} is being written by {holder}: wait for it, or choose another place"
            )

        self._require_ours()
        with hold(self.folder / _LOCK, taken=taken):
            yield

    def _require_ours(self) -> None:
        """Refuse a hidden folder that is not one of ours, lest it is emptied."""
        if not os.path.lexists(self.folder):
            return
        ours = self.folder.is_dir() and not self.folder.is_symlink()
        names = {path.name for path in self.folder.iterdir()} if ours else set()
        if not ours or any(name not in _OURS and name[0] != "." for name in names):
            raise ExportError(
                f"{self.folder} is in the way, and holds no export: move it, or choose another "
                "place"
            )


def require_same(folder: Path, about: Mapping[str, Any]) -> None:
    """Raise ExportError unless the record in a folder is `about`."""
    record = _read_record(folder)
    if record is None:
        raise ExportError(
            f"{folder} already exists and is not an export: choose another place, or delete it"
        )
    if other := [
        f"{k}: {record.get(k)!r}, not {about.get(k)!r}"
        for k in sorted({*record, *about})
        if record.get(k) != about.get(k)
    ]:
        raise ExportError(
            f"{folder} is an export of something else ({'; '.join(other)}): choose another place, "
            "or remove it"
        )


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
