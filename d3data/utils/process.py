"""How a process that computes waits and keeps memory, which it decides before torch is loaded."""

import ctypes
import sys

# threads that spin while they wait for a descheduled one made steps thirty times as long where
# one other process was at work; libgomp asks once
PASSIVE: dict[str, str] = {"OMP_WAIT_POLICY": "PASSIVE"}

MOST = 2**31 - 1
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of mallopt, from glibc's malloc.h


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next tensor; other libraries do as they do.

    A step allocates what the step before freed. Getting its pages from the system each time took
    a sixth of a step.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, MOST)
