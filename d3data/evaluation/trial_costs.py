"""What training a network costs: operations, and memory of a card."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from d3data import nets
from d3data.evaluation.record import TrainingData
from d3data.images.tasks import Task


def flops_per_image(network: nn.Module, data: TrainingData, task: Task) -> int | None:
    """Floating-point operations of training on one image: decoding, forward and backward.

    Convolutions and matrix products alone, two for each multiplication with its addition. None
    for a network whose operations cannot be counted.
    """
    try:
        trained = nets.count_flops(network, (task.channels, task.size, task.size)).training
    except Exception:  # a network of the user's own may do anything with its inputs
        return None
    with FlopCounterMode(display=False) as counter:
        data.batch(0, torch.zeros(1, dtype=torch.int64), device=torch.device("cpu"))
    return trained + int(counter.get_total_flops()) if trained else None


@contextlib.contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], int | None]]:
    """Yields a callable that returns the peak memory allocated in the block, in bytes.

    On a CUDA device beyond what was allocated before; None elsewhere.
    """
    if device.type != "cuda":
        yield lambda: None
        return
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    yield lambda: torch.cuda.max_memory_allocated(device) - before
