"""What a trial costs: operations and memory."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from d3data import nets
from d3data.tasks import Task

if TYPE_CHECKING:
    from d3data.evaluation.trials import Draws

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def flops_of_an_image(network: nn.Module, draws: "Draws", task: Task) -> int:
    """Operations of one image of training: decoding it, and the network forward and backward.

    Two for each multiplication with its addition, in convolutions and matrix products alone.
    """
    shape = (task.channels, task.size, task.size)
    return nets.count_flops(network, shape).training + flops_of_a_draw(draws)


def flops_of_a_draw(draws: "Draws") -> int:
    """Operations of decoding one draw; none where images are stored."""
    with FlopCounterMode(display=False) as counter:
        draws.batch(0, torch.zeros(1, dtype=torch.int64), device=torch.device("cpu"))
    return int(counter.get_total_flops())


@contextlib.contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], int | None]]:
    """Yield what tells, at the end of the block, the most bytes taken beyond those before it.

    Of a CUDA device what PyTorch allocated there; else what the process held, on Linux.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield lambda: torch.cuda.max_memory_allocated(device) - before
        return
    with contextlib.suppress(OSError):
        RESET.write_text("5", "ascii")  # the peak starts again from now
    held = _held("VmRSS")
    yield lambda: None if held is None else max(0, (_held("VmHWM") or 0) - held)


def _held(field: str) -> int | None:
    """Bytes of this process, as Linux names them."""
    try:
        line = STATUS.read_text("ascii").split(f"{field}:")[1]
    except (OSError, IndexError):
        return None
    return 1024 * int(line.split()[0])
