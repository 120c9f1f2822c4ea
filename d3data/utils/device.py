"""Devices, cores and threads of this machine, and the library versions."""

import contextlib
import os
import platform
from collections.abc import Iterator

import torch

from d3data.errors import DeviceError
from d3data.utils.version import __version__

SMALL = 16  # pixels


def useful_threads(size: int, share: int) -> int:
    """How many threads, of a `share` of cores, help to train on images of `size` pixels.

    On small images threads wait for each other: the digits' warm start took 3 to 9 times as long
    on two threads of a busy machine as on one.
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


def as_device(device: str | torch.device) -> torch.device:
    """A device of this machine: `cpu`, `cuda`, `cuda:1` or `mps`; else a DeviceError."""
    mps = int(torch.backends.mps.is_available())
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": mps}
    kind, _, index = str(device).partition(":")
    if kind not in counts or (index and not index.isdecimal()):
        raise DeviceError(f"unknown device '{device}': use cpu, cuda, cuda:N or mps")
    if int(index or 0) >= counts[kind]:
        raise DeviceError(
            f"this machine has no device '{device}' ({counts[kind]} of kind {kind}): use cpu"
        )
    return torch.device(device)


def device_memory(device: torch.device) -> int:
    """The bytes of memory that a device of this machine has, in use or not."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """The versions that decide the exact values of a result."""
    python, library = platform.python_version(), str(torch.__version__)
    return {"d3data": __version__, "python": python, "torch": library}
