"""Sampling, version 1: which item a draw belongs to, and the noise that it is made with.

Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

Both are pure functions of integers: batch size, workers, rank, order and device change nothing.
Legend: B draws, V values of one draw, K classes, D draws per class and epoch.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from d3data.utils.device import to_device

VERSION = 1

# 32-bit words, each in 64 bits so that products keep their upper half: uint64 in NumPy, int64 in
# PyTorch, where shifts carry a sign along until a mask takes it away
Words = TypeVar("Words", NDArray[Any], Tensor)

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF
_CHUNK = 1 << 14  # blocks at a time: the ten rounds then stay in the processor's cache
_WORTH_COMPILING = 32  # draws, of which a set gives more; the first take seconds longer
_DEVICE_CHUNK = 1 << 20  # likewise, where a launch costs more than a miss of the cache


def philox(
    counter: Sequence[Words], key: Sequence[int] | Sequence[Words]
) -> tuple[Words, Words, Words, Words]:
    """Ten rounds of Philox on four words of counters and two of keys, broadcast together."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        x0, x1, x2, x3 = (
            ((p1 >> 32) & _LOW) ^ x1 ^ k0,
            p1 & _LOW,
            ((p0 >> 32) & _LOW) ^ x3 ^ k1,
            p0 & _LOW,
        )
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW, (k1 + _KEY_STEPS[1]) & _LOW
    return x0, x1, x2, x3


def noise(
    seed: ArrayLike, epoch: ArrayLike, draw: ArrayLike, *, values: int, first: int = 0
) -> NDArray[np.float32]:
    """Standard normal values of some draws, (B, V) float32: those numbered from `first` on.

    A value depends on its number alone: not on `first` and `values`, nor on the other draws.
    `seed` (B,) or one for all, below 2^64; `epoch` likewise, below 2^32; `draw` (B,) below 2^64.
    """
    keys = [np.atleast_1d(np.asarray(x, dtype=np.uint64)) for x in (seed, epoch, draw)]
    assert not (keys[1] >> 32).any(), "an epoch has 32 bits"
    start, blocks = first // 4, _blocks(first, values)
    out = np.empty((len(keys[2]), blocks, 4), dtype=np.float32)
    numbers = np.arange(start, start + blocks, dtype=np.uint64)
    for rows in _rows(len(out), blocks, _CHUNK):
        _fill(out[rows], numbers, *(k if len(k) == 1 else k[rows] for k in keys), library=np)
    return out.reshape(len(out), 4 * blocks)[:, first - 4 * start :][:, :values]


def noise_on(
    device: torch.device, seed: Tensor, epoch: Tensor, draw: Tensor, *, values: int, first: int = 0
) -> Tensor:
    """The values of `noise`, made on a device that has float64; within one float32 ulp.

    `seed` (B,), `epoch` (B,) and `draw` (B,) are int64 in two's complement: 2^64 - 1 is -1.
    """
    start, blocks = first // 4, _blocks(first, values)
    out = torch.empty((len(draw), blocks, 4), device=device)
    numbers = torch.arange(start, start + blocks, device=device)
    keys = [to_device(key, device) for key in (seed, epoch, draw)]
    fill = _one_kernel() if len(draw) >= _WORTH_COMPILING else _fill
    for rows in _rows(len(out), blocks, _DEVICE_CHUNK):
        fill(out[rows], numbers, *(key[rows] for key in keys), library=torch)
    return out.flatten(1)[:, first - 4 * start :][:, :values]


@functools.cache
def _one_kernel() -> Callable[..., None]:
    """`_fill` as torch.compile fuses it; as it is written, in 200 launches, where it cannot."""
    compiled = torch.compile(_fill, dynamic=True)

    def fill(*inputs: Any, library: Any) -> None:
        nonlocal compiled
        try:
            compiled(*inputs, library=library)
        except Exception as failure:  # compilers fail in many ways
            reason = str(failure).splitlines()[0]
            warnings.warn(f"noise is drawn slowly, as torch.compile fails: {reason}", stacklevel=2)
            compiled = _fill
            _fill(*inputs, library=library)

    return fill


def _blocks(first: int, values: int) -> int:
    """How many blocks hold these values."""
    return -(-(first + values) // 4) - first // 4


def _rows(draws: int, blocks: int, chunk: int) -> list[slice]:
    """The draws that are filled at a time: those of about `chunk` blocks."""
    rows = max(1, chunk // max(1, blocks))
    return [slice(begin, begin + rows) for begin in range(0, draws, rows)]


def _fill(
    out: Any, blocks: Words, seed: Words, epoch: Words, draw: Words, *, library: Any
) -> None:
    """Fill (B, blocks, 4) with normal values; keys are (B,) or (1,)."""
    s, e, d = (key[:, None] for key in (seed, epoch, draw))
    counter = (blocks, d & _LOW, (d >> 32) & _LOW, e)
    words = philox(counter, (s & _LOW, (s >> 32) & _LOW))
    uniform = [(library.asarray(w, dtype=library.float64) + 0.5) * 2.0**-32 for w in words]
    for pair in (0, 2):  # Box-Muller in float64
        radius = library.sqrt(-2 * library.log(uniform[pair]))
        angle = 2 * np.pi * uniform[pair + 1]
        out[..., pair] = radius * library.cos(angle)
        out[..., pair + 1] = radius * library.sin(angle)


def place(
    epoch: ArrayLike, draw: ArrayLike, *, items_per_class: ArrayLike, draws_per_class: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The class of each draw (B,) and the number, within that class, of the item it is made from.

    Draw i of epoch e belongs to class i mod K and to that class's item (e D + i div K) mod n:
    classes are balanced however many items each has (`items_per_class`, (K,)), and every item
    comes up.
    """
    counts = np.asarray(items_per_class, dtype=np.int64)
    epochs, draws = (np.asarray(x, dtype=np.int64) for x in (epoch, draw))
    turns, classes = np.divmod(draws, len(counts))
    return classes, (epochs * draws_per_class + turns) % counts[classes]
