"""Reading within bounds: so much memory beyond what is in use, and so much processor time."""

import contextlib
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from d3data.errors import ArtifactError

T = TypeVar("T")
SECONDS = 10  # of this process on a processor; what is read takes less than one
MEMORY = 100 << 20


@contextlib.contextmanager
def bounded(memory: int = MEMORY, seconds: float = SECONDS) -> Iterator[None]:
    """Allow 100 MB more than are in use, and 10 seconds of processor time."""

    def late(*_: object) -> None:
        raise TimeoutError(f"reading took more than {seconds} s of processor time")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, late)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory, before[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def tried(read: Callable[[], T], *, memory: int = MEMORY) -> tuple[T | None, str]:
    """What `read` returns within the bounds, or what it is refused with."""
    with bounded(memory):
        try:
            return read(), ""
        except ArtifactError as fault:
            return None, str(fault)
