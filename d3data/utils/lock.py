"""One driver a run: a lock that vanishes with its holder, however that ends."""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from d3data.errors import RunError, RunLockedError

NAME = ".lock"
TRIES = 5  # a tenth of a second apart, since `holder` takes the lock for a moment

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        os.lseek(handle, 1 << 30, os.SEEK_SET)  # a byte beyond the text, which stays readable
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@dataclass(frozen=True)
class Holder:
    """The process that drives a run."""

    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@contextlib.contextmanager
def driving(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder, which is made if it is not there.

    Raises:
        RunLockedError: another process holds it.
        RunError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as failure:
        raise RunError(f"cannot write into {folder}: {failure.strerror}: choose another") from None
    try:
        if not any(_taken(handle, wait=attempt > 0) for attempt in range(TRIES)):
            raise RunLockedError(
                f"{folder} is being driven by {_read(folder) or 'another process'}: "
                "wait for it or stop it, or give another folder"
            )
        page = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
        os.lseek(handle, 0, os.SEEK_SET)
        os.ftruncate(handle, os.write(handle, page.encode()))
        yield
    finally:
        os.close(handle)


def holder(folder: Path) -> Holder | None:
    """Who drives the run in `folder` now."""
    try:
        handle = os.open(folder / NAME, os.O_RDWR)
    except OSError:
        return None
    try:
        return None if _taken(handle) else _read(folder)
    finally:
        os.close(handle)


def _taken(handle: int, *, wait: bool = False) -> bool:
    """Whether the lock could be had."""
    if wait:
        time.sleep(0.1)
    try:
        _take(handle)
    except (BlockingIOError, PermissionError):  # the latter from Windows
        return False
    return True


def _read(folder: Path) -> Holder | None:
    try:
        page = json.loads((folder / NAME).read_text())
        return Holder(str(page["host"]), int(page["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
