"""Reading within bounds: so much memory beyond what is in use, and so many seconds."""

import contextlib
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from d3data.errors import ArtifactError

T = TypeVar("T")
SECONDS = 5
MEMORY = 100 << 20


@contextlib.contextmanager
def bounded(memory: int = MEMORY) -> Iterator[None]:
    """Allow 100 MB more than are in use, and 5 seconds."""

    def late(*_: object) -> None:
        raise TimeoutError(f"reading took more than {SECONDS} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    alarm = signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory, before[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, alarm)
        resource.setrlimit(resource.RLIMIT_AS, before)


def tried(read: Callable[[], T], *, memory: int = MEMORY) -> tuple[T | None, str]:
    """What `read` returns within the bounds, or what it is refused with."""
    with bounded(memory):
        try:
            return read(), ""
        except ArtifactError as fault:
            return None, str(fault)
