"""What a trial costs: operations and memory."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from d3data import nets
from d3data.evaluation.setup import Draws
from d3data.images.tasks import Task


def flops_of_an_image(network: nn.Module, draws: Draws, task: Task) -> int | None:
    """Operations of one image of training: decoding it, and the network forward and backward.

    Two for each multiplication with its addition, in convolutions and matrix products alone. None
    for a network whose operations cannot be counted from shapes alone.
    """
    shape = (task.channels, task.size, task.size)
    try:
        trained = nets.count_flops(network, shape).training
    except Exception:  # a network of the user's own may do anything with its inputs
        return None
    return trained + flops_of_a_draw(draws) if trained else None


def flops_of_a_draw(draws: Draws) -> int:
    """Operations of decoding one draw; none where images are stored."""
    with FlopCounterMode(display=False) as counter:
        draws.batch(0, torch.zeros(1, dtype=torch.int64), device=torch.device("cpu"))
    return int(counter.get_total_flops())


@contextlib.contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], int | None]]:
    """Yield what tells, at the end of the block, the most bytes taken beyond those before it.

    Of a CUDA device what PyTorch allocated there. None elsewhere: what a process holds depends on
    what it freed before and kept.
    """
    if device.type != "cuda":
        yield lambda: None
        return
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    yield lambda: torch.cuda.max_memory_allocated(device) - before
