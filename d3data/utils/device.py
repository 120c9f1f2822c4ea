"""The machine: its devices, cores and threads, and the versions that decide its bits."""

import contextlib
import os
import platform
from collections.abc import Iterator

import torch

from d3data.errors import DeviceError
from d3data.utils.version import __version__

SMALL = 16  # pixels


def useful_threads(size: int, share: int) -> int:
    """How many of its `share` of cores a training on images of `size` pixels puts to use.

    Threads that wait for each other cost small images more than they save: the digits' warm
    start took 3 to 9 times as long on two threads of a busy machine as on one.
    """
    return 1 if size <= SMALL else share


@contextlib.contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Compute on so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_device(name: str) -> torch.device:
    """The device that `name` (`cpu`, `cuda`, `cuda:1`, `mps`) stands for.

    Raises:
        DeviceError: this machine does not have it.
    """
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    kind, _, index = name.partition(":")
    if kind not in there or (index and not index.isdecimal()):
        raise DeviceError(f"unknown device {name!r}: use cpu, cuda, cuda:N or mps")
    if int(index or 0) >= there[kind]:
        raise DeviceError(f"device {name!r} is not here ({there[kind]} of kind {kind}): use cpu")
    return torch.device(name)


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """The versions of what decides the bits of a result."""

    return {
        "d3data": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
