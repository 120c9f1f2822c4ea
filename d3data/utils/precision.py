"""Float32 that is float32, whatever the caller trains in."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """No autocast, no TF32 and no bfloat16 inside the block; afterwards all is as it was.

    PyTorch has two generations of switches, refuses to read the older where a program used the
    newer, and may refuse to compute where they disagree: so both are set, the older where it can
    be read.
    """
    backends: Any = torch.backends
    newer = (
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.cudnn.rnn,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
    )
    with contextlib.ExitStack() as stack:
        for switch in newer:  # put back last, as the older ones set them too
            stack.callback(setattr, switch, "fp32_precision", switch.fp32_precision)
        with contextlib.suppress(RuntimeError):
            stack.callback(
                torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()
            )
            torch.set_float32_matmul_precision("highest")
        with contextlib.suppress(RuntimeError):
            stack.callback(setattr, backends.cudnn, "allow_tf32", backends.cudnn.allow_tf32)
            backends.cudnn.allow_tf32 = False
        for switch in newer:
            switch.fp32_precision = "ieee"
        stack.enter_context(torch.autocast(device.type, enabled=False))
        yield
