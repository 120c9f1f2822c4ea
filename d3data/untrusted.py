"""Files of a folder that somebody else made: inside it, regular, and as they were written."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from d3data.errors import IntegrityError

Verify = Literal["always", "size", "never"]
AGAIN = "fetch the artifact again"


@contextlib.contextmanager
def opened(folder: Path, path: str) -> Iterator[BinaryIO]:
    """Open the file `path` of `folder`; what is checked is what is open, whatever is moved later.

    Raises:
        IntegrityError: it is missing, outside, reached by a link, or not a regular file.
    """
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
        except OSError as fault:  # a link is ELOOP, or ENOTDIR on the way
            if any(part.is_symlink() for part in _on_the_way(folder, steps)):
                raise IntegrityError(
                    f"{where} is reached by a link; copy the file itself"
                ) from None
            raise IntegrityError(f"{where} cannot be read: {fault.strerror}") from fault
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise IntegrityError(f"{where} is not a regular file; {AGAIN}")
        yield stack.enter_context(os.fdopen(handle, "rb", closefd=False))


def read(folder: Path, path: str, *, most: int) -> bytes:
    """The bytes of a file that has at most `most`.

    Raises:
        IntegrityError: it is larger, or as `opened` says.
    """
    with opened(folder, path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise IntegrityError(f"{folder / path} has more than {most} bytes; {AGAIN}")
    return content


def read_known(folder: Path, path: str, *, size: int, sha256: str, verify: Verify) -> bytes:
    """The bytes of a file of known size and digest: what is hashed is what is returned.

    `verify` is "always" (size and digest), "size", or "never".

    Raises:
        IntegrityError: it is not the file that was written, or as `opened` says.
    """
    with opened(folder, path) as file:
        found = os.fstat(file.fileno()).st_size
        if verify != "never" and found != size:
            raise IntegrityError(f"{folder / path} has {found} bytes, not {size}; {AGAIN}")
        content = file.read()
    digest = hashlib.sha256(content).hexdigest() if verify == "always" else sha256
    if digest != sha256:
        raise IntegrityError(f"{folder / path} has sha256 {digest}, not {sha256}; {AGAIN}")
    return content


def _on_the_way(folder: Path, steps: tuple[str, ...]) -> list[Path]:
    return [folder.joinpath(*steps[: length + 1]) for length in range(len(steps))]
