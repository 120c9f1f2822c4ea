"""What a machine gives to a run: cores and accelerators."""

import os
import platform
import socket
from dataclasses import dataclass
from typing import Any

import torch

from d3data.utils.device import as_device, cores, useful_threads, versions


@dataclass(frozen=True)
class Resources:
    """How many jobs run at a time, and on what.

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

    Args:
        device: cpu, cuda, cuda:N or mps.
        workers: jobs at a time, if not the default.
        inline: one job at a time, in a process that sees all accelerators.
        remote: workers run on other machines, whose devices cannot be checked here.

    Raises:
        DeviceError: this machine does not have the device.
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


def environment(device: str) -> dict[str, Any]:
    """What `env.json` says of this machine."""
    return {
        "versions": versions(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "device": device,
    }
