"""Devices, cores and threads of this machine, and the library versions."""

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from d3data.errors import DeviceError
from d3data.utils.version import __version__

SMALL = 16  # pixels
CPU_SHARE = Path("/sys/fs/cgroup/cpu.max")  # microseconds of all cores together, in so many


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
    """A device of this machine, such as `cpu`, `cuda`, `cuda:1` or `mps`; else a DeviceError."""
    try:
        place = torch.device(device)
        count = 1 if place.type == "cpu" else torch.get_device_module(place).device_count()
    except RuntimeError:
        raise DeviceError(f"unknown device '{device}': use cpu, cuda, cuda:N or mps") from None
    if (place.index or 0) >= count:
        raise DeviceError(
            f"this machine has no device '{device}' ({count} of kind {place.type}): use cpu"
        )
    return place


def numbered(device: torch.device) -> torch.device:
    """The same device whichever becomes the current one: `cuda:0` for `cuda`, now."""
    if device.index is not None or device.type in ("cpu", "meta", "mps"):
        return device
    return torch.device(device.type, torch.get_device_module(device).current_device())


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on `device`, which nobody waits for: it is copied from pinned memory."""
    if tensor.device.type != "cpu" or not _pins(device):
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def normal(shape: tuple[int, ...], device: torch.device, rng: torch.Generator) -> Tensor:
    """Standard normal values of a generator of the CPU, on `device`, which nobody waits for.

    They are drawn where they are sent from: neither memory that is new each time nor a copy.
    """
    drawn = torch.empty(shape, pin_memory=_pins(device)).normal_(generator=rng)
    return drawn.to(device, non_blocking=_pins(device))


def _pins(device: torch.device) -> bool:
    return device.type not in ("cpu", "meta", "mps")


def move(module: nn.Module, device: torch.device) -> nn.Module:
    """A module of the CPU, moved to `device` as `to_device` moves a tensor."""
    moved: nn.Module = module._apply(lambda tensor: to_device(tensor, device))
    return moved


@contextlib.contextmanager
def enough_memory(remedy: str) -> Iterator[None]:
    """Raise a DeviceError that says `remedy` where the device runs out of memory in the block."""
    try:
        yield
    except torch.OutOfMemoryError as failure:
        reason = str(failure).partition(". ")[0]
        raise DeviceError(f"the device has too little memory ({reason}): {remedy}") from failure


def device_name(device: torch.device) -> str:
    """What reports call it: the model of a GPU, else the kind of device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def device_memory(device: torch.device) -> int:
    """The bytes of memory that a device of this machine has, in use or not.

    Of the CPU what its container allows; of a device that does not say the same.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # "max", or not of Linux
        return min(host, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return host


def cores() -> int:
    """The cores that this process may use, by its affinity and by its container's share."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # "max", or not of Linux
        quota, period = map(int, CPU_SHARE.read_text().split())
        return max(1, min(count, quota // period))
    return count


def versions() -> dict[str, str]:
    """The versions that decide the exact values of a result."""
    python, library = platform.python_version(), str(torch.__version__)
    return {"d3data": __version__, "python": python, "torch": library}


@dataclass(frozen=True)
class Resources:
    """What a machine gives to a run: how many jobs run at a time, and on what.

    `devices` are the values of CUDA_VISIBLE_DEVICES that workers take in turn; none on a CPU.
    `each` is how many cores each job has, where that is not an equal share of this machine's.
    """

    device: str
    workers: int
    devices: tuple[str, ...] = ()
    each: int | None = None

    def threads(self, jobs: int, size: int) -> int:
        """The threads of each of so many jobs on images of `size` pixels.

        OMP_NUM_THREADS, or an equal share of the cores, as far as threads are of use.
        """
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        if wanted.isdecimal() and int(wanted) > 0:
            return int(wanted)
        share = self.each or max(1, cores() // max(1, min(self.workers, jobs)))
        return useful_threads(size, share)


def find_resources(device: str, workers: int | None, *, inline: bool = False) -> Resources:
    """Those of this machine; by default one worker an accelerator, or one a core on the CPU.

    `inline`: one job at a time, in a process that sees all accelerators. DeviceError where there
    is no such device.
    """
    kind = as_device(device).type
    device = "cpu" if kind == "cpu" else device
    if inline:
        return Resources(device, 1)
    if kind != "cuda":
        return Resources(device, workers or (cores() if kind == "cpu" else 1))
    devices = visible_devices(torch.cuda.device_count())
    _, _, index = device.partition(":")
    chosen = (devices[int(index)],) if index else devices
    return Resources("cuda", workers or len(chosen), chosen)


def visible_devices(count: int) -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES calls each of the `count` GPUs that this process sees.

    CUDA ignores all from the first entry on that is no GPU; spaces and trailing commas are usual.
    """
    entries = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    named = tuple(entry.strip() for entry in entries if entry.strip())[:count]
    return named or tuple(map(str, range(count)))
