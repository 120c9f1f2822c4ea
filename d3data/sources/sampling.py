"""Sampling, version 1: which item a draw belongs to, and the noise that it is made with.

Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

Both are pure functions of integers: batch size, workers, rank, order and device change nothing.
Legend: B draws, V values of one draw, K classes, D draws per class and epoch.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

VERSION = 1

# 32-bit words, each in 64 bits so that products keep their upper half: uint64 in NumPy, int64 in
# PyTorch, where shifts carry a sign along until a mask takes it away
Words = TypeVar("Words", NDArray[Any], Tensor)

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF
_CHUNK = 1 << 14  # blocks at a time: the ten rounds then stay in the processor's cache
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
    _fill(out, numbers, *keys, library=np, chunk=_CHUNK)
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
    keys = (key.to(device, non_blocking=True) for key in (seed, epoch, draw))
    _fill(out, numbers, *keys, library=torch, chunk=_DEVICE_CHUNK)
    return out.flatten(1)[:, first - 4 * start :][:, :values]


def _blocks(first: int, values: int) -> int:
    """How many blocks hold these values."""
    return -(-(first + values) // 4) - first // 4


def _fill(
    out: Any, blocks: Words, seed: Words, epoch: Words, draw: Words, *, library: Any, chunk: int
) -> None:
    """Fill (B, blocks, 4) with normal values, `chunk` blocks at a time; keys are (B,) or (1,)."""
    rows = max(1, chunk // max(1, len(blocks)))
    for begin in range(0, len(out), rows):
        some = slice(begin, begin + rows)
        s, e, d = (k[:, None] if len(k) == 1 else k[some, None] for k in (seed, epoch, draw))
        counter = (blocks, d & _LOW, (d >> 32) & _LOW, e)
        words = philox(counter, (s & _LOW, (s >> 32) & _LOW))
        uniform = [(library.asarray(w, dtype=library.float64) + 0.5) * 2.0**-32 for w in words]
        for pair in (0, 2):  # Box-Muller in float64
            radius = library.sqrt(-2 * library.log(uniform[pair]))
            angle = 2 * np.pi * uniform[pair + 1]
            out[some, :, pair] = radius * library.cos(angle)
            out[some, :, pair + 1] = radius * library.sin(angle)


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
