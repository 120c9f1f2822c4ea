"""What the steps work with: a device, what counts there, and the checks that they yield."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from d3data.distill.experts import Experts
from d3data.distill.jobs import blank
from d3data.distill.recipe import Recipe
from d3data.images.tasks import Task
from d3data.sources.base import Source
from d3data.utils.device import to_device

LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch")
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize")


class Check(NamedTuple):
    """What was looked at, what it must show, what it showed; `ok` is None where nothing must."""

    what: str
    must: str
    found: Any
    ok: bool | None = None


class Counts(NamedTuple):
    """Kernels, times that the host waited, and the share of time that the device was busy."""

    launches: int
    waits: int
    busy: float | None


class Card(Protocol):
    """An accelerator that counts."""

    def begin(self) -> None:
        """Count from here on."""

    def end(self) -> Counts:
        """What was counted."""

    def forget(self) -> None:
        """Look for the peak of memory from here on."""

    def peak(self) -> int:
        """Bytes beyond what was allocated when the last peak was forgotten."""

    def wait(self) -> None:
        """Until all is computed."""


class CudaCard:
    """A real one."""

    def begin(self) -> None:
        torch.cuda.synchronize()
        self._profile = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
        self._profile.__enter__()
        self._began = time.perf_counter()

    def end(self) -> Counts:
        seconds = time.perf_counter() - self._began
        self._profile.__exit__(None, None, None)
        events = self._profile.events()
        names = [event.name for event in events if event.device_type == DeviceType.CPU]
        kernels = [event for event in events if event.device_type == DeviceType.CUDA]
        busy = sum(event.time_range.elapsed_us() for event in kernels) / 1e6
        launches = sum(name.startswith(LAUNCHES) for name in names)
        return Counts(launches, sum(name in WAITS for name in names), round(busy / seconds, 3))

    def forget(self) -> None:
        torch.cuda.synchronize()
        self._before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        return torch.cuda.max_memory_allocated() - self._before

    def wait(self) -> None:
        torch.cuda.synchronize()


class PretendedCard:
    """That of `tests/card/pretended.py`, which has counters of its own."""

    def __init__(self, card: Any) -> None:
        self._card = card

    def begin(self) -> None:
        self._before = self._card.launches, self._card.waits

    def end(self) -> Counts:
        launches, waits = self._before
        return Counts(self._card.launches - launches, self._card.waits - waits, None)

    def forget(self) -> None:
        self._alive = self._card.peak = self._card.alive

    def peak(self) -> int:
        return self._card.peak - self._alive

    def wait(self) -> None:
        pass


@dataclass(frozen=True)
class Bench:
    """Where to measure, in a folder for what is made; `real` is False on a pretended card."""

    device: torch.device
    card: Card
    folder: Path
    real: bool = True

    def pick(self, real: Any, pretended: Any) -> Any:
        """A size for either kind of card: a pretended one is slow."""
        return real if self.real else pretended


def recorded(recipe: Recipe, task: Task, files: list[Path], device: torch.device) -> Experts:
    """The experts that a recipe asks for, read from as many files as it has, in turn."""
    plan = recipe.objective.expert_plan
    paths = [files[number % len(files)] for number in range(plan.count)]
    return Experts(plan, task, paths, device=device)


def random_source(recipe: Recipe, task: Task, device: torch.device) -> Source:
    """A source of random values, the same on every device."""
    source, rng = blank(recipe, task), torch.Generator().manual_seed(0)
    for name, parameter in source.named_parameters():
        if name != "step_size":
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=rng)
    return source._apply(lambda tensor: to_device(tensor, device))
