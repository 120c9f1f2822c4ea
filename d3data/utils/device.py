"""Devices, cores and threads of this machine, and the library versions."""

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Resources:
    """What a machine gives to a run: how many jobs run at a time, and on what.

    `devices` are the values of CUDA_VISIBLE_DEVICES that workers take in turn; none on a CPU.
    """

    device: str
    workers: int
    devices: tuple[str, ...] = ()

    def threads(self, jobs: int, size: int) -> int:
        """The threads of each of so many jobs on images of `size` pixels.

        OMP_NUM_THREADS, or an equal share of the cores, as far as threads are of use.
        """
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        if wanted.isdecimal() and int(wanted) > 0:
            return int(wanted)
        return useful_threads(size, max(1, cores() // max(1, min(self.workers, jobs))))


def find_resources(
    device: str, workers: int | None, *, inline: bool = False, remote: bool = False
) -> Resources:
    """Those of this machine; by default one worker an accelerator, or one a core on the CPU.

    `inline`: one job at a time, in a process that sees all accelerators; `remote`: workers run on
    other machines, whose devices cannot be checked here, else a DeviceError says what is missing.
    """
    if remote:
        return Resources(device, workers or 1)
    kind = as_device(device).type
    if inline:
        return Resources(device, 1)
    if kind != "cuda":
        return Resources(device, workers or (cores() if kind == "cpu" else 1))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(
        map(str, range(torch.cuda.device_count()))
    )
    devices = tuple(entry.strip() for entry in visible.split(","))
    _, _, index = device.partition(":")
    chosen = (devices[int(index)],) if index else devices
    return Resources("cuda", workers or len(chosen), chosen)
