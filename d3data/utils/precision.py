"""Full float32 precision, whatever precision the caller trains in."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import torch

_lock = threading.Lock()
_blocks = 0  # of all threads that are inside now
_restore: list[contextlib.ExitStack] = []  # what puts the caller's switches back, in this order


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """No autocast, no TF32 and no bfloat16 inside the block.

    The switches belong to the process, so that blocks of several threads share them: each block
    sets what differs, the last one puts all back as the caller set them last.
    """
    global _blocks
    with _lock:
        _set()
        _blocks += 1
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                _put_back()


@contextlib.contextmanager
def tensor_float() -> Iterator[None]:
    """TF32 in the convolutions of CUDA inside the block, as torch has it unless told otherwise.

    Nothing changes while another thread asks for full precision.
    """
    cudnn: Any = torch.backends.cudnn
    with contextlib.ExitStack() as stack:
        with _lock:
            differs = cudnn.conv.fp32_precision != "tf32" and not _blocks
            for switch in (cudnn.conv, cudnn.rnn) if differs else ():
                stack.callback(setattr, switch, "fp32_precision", switch.fp32_precision)
                switch.fp32_precision = "tf32"
        yield


def _put_back() -> None:
    for changes in _restore:
        changes.close()
    _restore.clear()


def _forked() -> None:
    """A child has none of its parent's threads, nor what they hold."""
    global _lock, _blocks
    _lock, _blocks = threading.Lock(), 0
    _put_back()


os.register_at_fork(after_in_child=_forked)


def _set() -> None:
    """Switch to full precision, unless all switches say so already.

    PyTorch has two generations of switches, refuses to read the older where a program used the
    newer, and may refuse to compute where they disagree: so both are set, the older where it can
    be read.
    """
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    newer = backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv
    with contextlib.ExitStack() as stack:
        for switch in newer:  # put back last, because the older switches set these too
            stack.callback(setattr, switch, "fp32_precision", switch.fp32_precision)
        differs = any(switch.fp32_precision != "ieee" for switch in newer)
        with contextlib.suppress(RuntimeError):
            if (before := torch.get_float32_matmul_precision()) != "highest":
                stack.callback(torch.set_float32_matmul_precision, before)
                torch.set_float32_matmul_precision("highest")
                differs = True
        with contextlib.suppress(RuntimeError):
            if cudnn.allow_tf32:
                stack.callback(setattr, cudnn, "allow_tf32", True)
                cudnn.allow_tf32 = False
                differs = True
        for switch in newer if differs else ():
            switch.fp32_precision = "ieee"
        changes = stack.pop_all()
    if differs:
        _restore.append(changes)
