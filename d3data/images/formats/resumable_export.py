"""A folder of many files that is there whole or not at all, and whose making can be broken off."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from d3data.errors import ExportError, RunError
from d3data.utils.atomic import write_bytes, write_json

RECORD = "export.json"
_LOCK = "lock"
_OURS = {RECORD, _LOCK, "done", "pieces", "whole"}


def place(out: str | Path) -> Path:
    """The folder that is meant, absolute.

    Raises:
        ExportError: no folder can be called so.
    """
    try:
        found = Path(out).expanduser().absolute()
    except (RuntimeError, TypeError) as fault:
        raise ExportError(f"{out!r} is no folder: {fault}") from None
    if not found.name or "\0" in str(found):
        raise ExportError(f"{str(out)!r} is no folder that can be made: choose another name")
    return found


class ResumableExport:
    """The hidden folder beside `out` in which it is built, and what of it is done.

    export.json    what it will be
    lock           held by the process that builds it
    done/00000     an empty file for every shard that is on the disk
    pieces/        what is put together at the end
    whole/         what is renamed to `out` when all is there
    """

    def __init__(self, out: Path) -> None:
        self.out, self.folder = out, out.with_name(f".{out.name}.partial")
        self.whole, self.pieces = self.folder / "whole", self.folder / "pieces"

    @contextlib.contextmanager
    def building(self, about: Mapping[str, Any]) -> Iterator[None]:
        """Begin what `about` tells, or go on with it; on leaving, put it in its place.

        Raises:
            ExportError: the folder holds something else, or another process builds in it.
        """
        with self._held():
            self._begin(about)
            yield
            write_json(self.whole / RECORD, about)
            os.sync()
            self.whole.rename(self.out)
            shutil.rmtree(self.folder)

    def is_done(self, shard: int) -> bool:
        """Whether a shard is on the disk."""
        return self._mark(shard).exists()

    def done(self, shard: int) -> None:
        """A shard is on the disk."""
        write_bytes(self._mark(shard), b"")

    def tidy(self, about: Mapping[str, Any]) -> None:
        """Take away what is left where `out` is in its place already, if anything is."""
        if self.folder.exists() and _told(self.folder) in (None, about):
            with contextlib.suppress(ExportError), self._held():
                shutil.rmtree(self.folder)

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Raise ExportError for a full disk and the like, and say how to go on."""
        try:
            yield
        except (OSError, RunError) as failure:
            cause = failure.__cause__ or failure
            number = getattr(cause, "errno", None)
            reason = cause if number is None else os.strerror(number)
            raise ExportError(
                f"cannot write {self.out}: {reason}; what is done is kept in {self.folder}: free "
                "some space, or mend what is wrong, and repeat"
            ) from failure

    def _mark(self, shard: int) -> Path:
        return self.folder / "done" / f"{shard:05d}"

    def _begin(self, about: Mapping[str, Any]) -> None:
        if os.path.lexists(self.out):
            raise ExportError(f"another process has just made {self.out}: repeat to see of what")
        if _told(self.folder) is None or not self.whole.exists():
            self._clear()  # where nothing is begun, or all was renamed
            write_json(self.folder / RECORD, about)
        require_same(self.folder, about)
        for folder in (self.whole, self.pieces, self.folder / "done"):
            folder.mkdir(exist_ok=True)
        for left in self.folder.rglob(".*"):  # temporary files of a process that was killed
            left.unlink()

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Keep other processes out; a lock vanishes with its holder, however that ends."""
        import fcntl

        self._require_ours()
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ExportError(
                    f"another process is writing {self.out}: wait for it, or choose another place"
                ) from None
            yield

    def _require_ours(self) -> None:
        """Raise ExportError where the hidden folder is not one of ours, lest it is emptied."""
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
    """Raise ExportError unless a folder says to be what `about` tells."""
    told = _told(folder)
    if told is None:
        raise ExportError(
            f"{folder} is there already, and is no export: choose another place, or remove it"
        )
    if other := [
        f"{k}: {told.get(k)!r}, not {about.get(k)!r}"
        for k in sorted({*told, *about})
        if told.get(k) != about.get(k)
    ]:
        raise ExportError(
            f"{folder} is an export of something else ({'; '.join(other)}): choose another place, "
            "or remove it"
        )


def _told(folder: Path) -> dict[str, Any] | None:
    """What the record in a folder tells, or None where there is no such record."""
    try:
        told = json.loads((folder / RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
