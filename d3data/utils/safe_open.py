"""Files of a folder that somebody else made: inside it, regular, and as they were written."""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Literal

from d3data.errors import D3DataError, IntegrityError

Verify = Literal["always", "size", "never"]
PIECE = 8 << 20  # bytes read at a time
LINKED = (errno.ELOOP, errno.ENOTDIR)  # of a link, and of one on the way
AGAIN = "fetch the artifact again, or make it again"


def absent(folder: Path, path: str) -> bool:
    """Whether there is no file `path` in `folder`; where one cannot tell, `opened` says why."""
    try:
        (folder / path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


@contextlib.contextmanager
def opened(folder: Path, path: str) -> Iterator[BufferedReader]:
    """Open the file `path` of `folder`; what is checked is what is open, whatever is moved later.

    IntegrityError where it is missing, outside, reached by a link, or not a regular file.
    """
    if not hasattr(os, "O_NOFOLLOW"):
        raise D3DataError("d3data needs a POSIX system, such as Linux or macOS")
    where = folder / path
    steps = PurePosixPath(path).parts
    if path.startswith("/") or ".." in steps:
        raise IntegrityError(f"{where}: a path of an artifact is relative and inside; {AGAIN}")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.ExitStack() as stack:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            for step in steps:
                handle = os.open(step, flags, dir_fd=handle)
                stack.callback(os.close, handle)
        except FileNotFoundError:
            raise IntegrityError(f"{where} is missing; {AGAIN}") from None
        except OSError as fault:
            passed = (folder.joinpath(*steps[: n + 1]) for n in range(len(steps)))
            if fault.errno in LINKED and any(path.is_symlink() for path in passed):
                raise IntegrityError(
                    f"{where} is reached by a link; copy the file itself"
                ) from None
            raise IntegrityError(f"{where} cannot be read: {fault.strerror}") from fault
        except ValueError as fault:  # no name of a file
            raise IntegrityError(f"{where} cannot be read: {fault}") from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise IntegrityError(f"{where} is not a regular file; {AGAIN}")
        yield stack.enter_context(os.fdopen(handle, "rb", closefd=False))


def read(folder: Path, path: str, *, most: int) -> bytes:
    """The bytes of a file, opened as by `opened`; IntegrityError where it has more than `most`."""
    with opened(folder, path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise IntegrityError(f"{folder / path} has more than {most} bytes; {AGAIN}")
    return content


class Reader:
    """A file that is hashed while it is read: what is hashed is what was handed out."""

    def __init__(self, file: BufferedReader, size: int, beside: Executor | None, where: Path):
        self.size, self._file, self._beside, self._where = size, file, beside, where
        self._digest = hashlib.sha256()

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, or a part of it, with the bytes that come next; none at the end."""
        piece = buffer[:PIECE]
        count = self._file.readinto(piece)
        if self._beside is not None and count:
            self._beside.submit(self._digest.update, piece[:count])
        return count

    def read(self, *, most: int) -> bytes:
        """The bytes of a file of which nothing has been read, if it has at most `most`."""
        if self.size > most:
            raise IntegrityError(f"{self._where} has more than {most} bytes; {AGAIN}")
        content = self._file.read(self.size)
        self._digest.update(content)
        return content

    def digest(self) -> str:
        """The sha256 of the whole file, whatever of it has been read."""
        rest = bytearray(PIECE)
        while count := self._file.readinto(rest):
            self._digest.update(rest[:count])
        return self._digest.hexdigest()


@contextlib.contextmanager
def known(folder: Path, path: str, *, size: int, sha256: str, verify: Verify) -> Iterator[Reader]:
    """Read a file of known size and digest inside the block, at whose end both have been checked.

    `verify` is "always" (size and digest), "size", or "never". A digest that is wrong is told
    before any fault that was found inside the block.
    """
    with opened(folder, path) as file:
        found = os.fstat(file.fileno()).st_size
        if verify != "never" and found != size:
            raise IntegrityError(f"{folder / path} has {found} bytes, not {size}; {AGAIN}")
        if verify != "always":
            yield Reader(file, found, None, folder / path)
            return
        beside = ThreadPoolExecutor(1)  # sha256 lets other threads run
        reader = Reader(file, found, beside, folder / path)
        try:
            yield reader
        finally:
            beside.shutdown()
            if (digest := reader.digest()) != sha256:
                raise IntegrityError(
                    f"{folder / path} has sha256 {digest}, not {sha256}; {AGAIN}"
                ) from None
