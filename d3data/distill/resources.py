"""What this machine gives to a run: cores, accelerators, and the versions that decide its bits."""

import os
import platform
import socket
from dataclasses import dataclass
from typing import Any

import torch

from d3data.utils.device import as_device, cores, useful_threads, versions


@dataclass(frozen=True)
class Machine:
    """How many jobs run at a time, and on what.

    `devices` are the entries for CUDA_VISIBLE_DEVICES that workers take in turn; none on a CPU.
    """

    device: str
    workers: int
    devices: tuple[str, ...] = ()

    def threads(self, jobs: int, size: int) -> int:
        """The threads of each of so many jobs on images of `size` pixels.

        OMP_NUM_THREADS, or the cores dealt out as far as they are of use.
        """
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        if wanted.isdecimal() and int(wanted) > 0:
            return int(wanted)
        return useful_threads(size, max(1, cores() // max(1, min(self.workers, jobs))))


def machine(
    device: str, workers: int | None, *, inline: bool = False, elsewhere: bool = False
) -> Machine:
    """This machine; by default one worker an accelerator, or one a core on the CPU.

    Args:
        device: cpu, cuda, cuda:N or mps.
        workers: jobs at a time, if not by default.
        inline: one job at a time, in a process that sees all accelerators.
        elsewhere: workers run on other machines, whose devices are not looked for here.

    Raises:
        DeviceError: this machine does not have the device.
    """
    if elsewhere:
        return Machine(device, workers or 1)
    kind = as_device(device).type
    if inline:
        return Machine(device, 1)
    if kind != "cuda":
        return Machine(device, workers or (cores() if kind == "cpu" else 1))
    _, _, index = device.partition(":")
    entries = _visible()
    chosen = entries if not index else (entries[int(index)],)
    return Machine("cuda", workers or len(chosen), chosen)


def environment(device: str) -> dict[str, Any]:
    """What `env.json` says of this machine."""
    return {
        "versions": versions(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "device": device,
    }


def _visible() -> tuple[str, ...]:
    entries = os.environ.get("CUDA_VISIBLE_DEVICES")
    if entries:
        return tuple(entry.strip() for entry in entries.split(","))
    return tuple(str(index) for index in range(torch.cuda.device_count()))
