"""File locks that tell who holds them.

The lock itself is `filelock`'s: the system releases it when its process ends, however it ends.
The holder's host and process id stand in a second file, which counts only while the lock is held.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from d3data.errors import D3DataError, RunError

TIMEOUT = 0.5  # seconds; `holder` takes the lock for a moment


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock."""

    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@contextlib.contextmanager
def hold(path: Path, *, taken: Callable[[str], D3DataError]) -> Iterator[None]:
    """Hold the lock file `path` inside the block; its folder is made if it is missing.

    `taken` makes the error to raise where another process holds it, from the name of that process.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=TIMEOUT)
    except Timeout:
        raise taken(str(_read(path) or "another process")) from None
    except OSError as failure:
        raise _cannot_write(path, failure) from failure
    try:
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
            about = {"host": socket.gethostname(), "pid": os.getpid()}
            _holder_file(path).write_text(json.dumps(about))
        yield
    finally:
        with contextlib.suppress(OSError):
            _holder_file(path).unlink()
        lock.release()


@contextlib.contextmanager
def hold_range(path: Path, name: str, *, patience: float) -> Iterator[None]:
    """Hold one byte of the file `path`, that of `name`, which other machines see held too.

    TimeoutError if another process holds it for so many seconds. A process that holds one byte of
    a file must not open it again.
    """
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
    end = time.monotonic() + patience
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("ab")
    except OSError as failure:
        raise _cannot_write(path, failure) from failure
    with opened as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
                break
            except (BlockingIOError, PermissionError):
                if time.monotonic() > end:
                    raise TimeoutError(f"another process is still at {name}") from None
                time.sleep(0.1)
            except OSError as failure:
                raise RunError(
                    f"{path} cannot be locked: {failure.strerror}; its disk must be mounted with "
                    "locks (Lustre: -o flock), or choose another folder"
                ) from failure
        yield


def holder(path: Path) -> Holder | None:
    """The process that holds the lock file `path` now."""
    if not path.exists():
        return None
    try:
        with FileLock(path).acquire(blocking=False):
            return None
    except Timeout:
        return _read(path)
    except OSError:
        return None


def lock_files(path: Path) -> set[str]:
    """The names of the files that holding `path` leaves in its folder."""
    return {path.name, _holder_file(path).name}


def _cannot_write(path: Path, failure: OSError) -> RunError:
    return RunError(f"cannot write into {path.parent}: {failure.strerror}; choose another folder")


def _holder_file(path: Path) -> Path:
    return path.with_name(f"{path.name}-holder")


def _read(path: Path) -> Holder | None:
    try:
        about = json.loads(_holder_file(path).read_text())
        return Holder(str(about["host"]), int(about["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
