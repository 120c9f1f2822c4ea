"""Sampling, version 1: which item a draw belongs to, and the noise that it is made with.

Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

Both are pure functions of integers: batch size, workers, rank, order and device change nothing.
Legend: B draws, V values of one draw, K classes, D draws per class and epoch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

VERSION = 1

Words = NDArray[np.uint64]  # 32-bit words, each in 64 bits so that products keep their upper half

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_CHUNK = 1 << 15  # blocks at a time: the ten rounds then stay in the processor's cache


def philox(counter: Sequence[Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Ten rounds of Philox on four words of counters, which broadcast against each other."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        x0, x1, x2, x3 = (
            (p1 >> _HALF) ^ x1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _HALF) ^ x3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0, k1 = (k0 + _KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + _KEY_STEPS[1]) & 0xFFFFFFFF
    return x0, x1, x2, x3


def noise(seed: int, epoch: ArrayLike, draw: ArrayLike, *, values: int) -> NDArray[np.float32]:
    """Standard normal values of some draws, (B, V) float32.

    Element v of a draw does not depend on `values`, nor on the other draws of the call.

    Args:
        seed: the key, 0 <= seed < 2^64.
        epoch: (B,) or one for all, 0 <= epoch < 2^32.
        draw: (B,), the index of the draw within its epoch, 0 <= draw < 2^64.
        values: V, how many each draw has.
    """
    draws = np.atleast_1d(np.asarray(draw, dtype=np.uint64))
    epochs = np.broadcast_to(np.asarray(epoch, dtype=np.uint64), draws.shape)
    assert 0 <= seed < 1 << 64, "a seed has 64 bits"
    assert not (epochs >> _HALF).any(), "an epoch has 32 bits"
    blocks = np.arange(-(-values // 4), dtype=np.uint64)
    out = np.empty((len(draws), len(blocks), 4), dtype=np.float32)
    rows = max(1, _CHUNK // max(1, len(blocks)))
    for start in range(0, len(draws), rows):
        some = slice(start, start + rows)
        counter = (blocks[None], *(w[some, None] for w in (draws & _LOW, draws >> _HALF, epochs)))
        words = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
        _normal(words[0], words[1], out[some, :, 0:2])
        _normal(words[2], words[3], out[some, :, 2:4])
    return out.reshape(len(draws), 4 * len(blocks))[:, :values]


def _normal(first: Words, second: Words, out: NDArray[np.float32]) -> None:
    """Box-Muller in float64: two words to two normal values, in the last axis of `out`."""
    radius = np.sqrt(-2 * np.log((first + 0.5) * 2.0**-32))
    angle = (second + 0.5) * (2 * np.pi * 2.0**-32)
    out[..., 0] = radius * np.cos(angle)
    out[..., 1] = radius * np.sin(angle)


def place(
    epoch: ArrayLike, draw: ArrayLike, *, items_per_class: ArrayLike, draws_per_class: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The class of each draw and the number, within that class, of the item it is made from.

    Draw i of epoch e belongs to class i mod K and to that class's item (e D + i div K) mod n:
    classes are balanced however many items each has, and every item comes up.

    Args:
        epoch: (B,) or one for all.
        draw: (B,), 0 <= draw < K D.
        items_per_class: (K,) n, each at least 1.
        draws_per_class: D.

    Returns:
        (B,) class and (B,) item, int64.
    """
    counts = np.asarray(items_per_class, dtype=np.int64)
    epochs, draws = (np.asarray(x, dtype=np.int64) for x in (epoch, draw))
    turns, classes = np.divmod(draws, len(counts))
    return classes, (epochs * draws_per_class + turns) % counts[classes]
