"""Random numbers are an argument: every generator is made from a seed and a key, on the CPU.

A key names what the numbers are for, so the same step of the same stream draws the same numbers
whether or not anything was interrupted before it, and no two streams share any.
"""

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def derive(seed: int, *key: str | int) -> int:
    """A 63-bit seed that depends on `seed` and on every element of `key`."""
    text = "\x1f".join([str(seed), *(f"{type(k).__name__}:{k}" for k in key)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *key: str | int) -> torch.Generator:
    """A CPU generator for the stream that `key` names under `seed`."""
    return torch.Generator().manual_seed(derive(seed, *key))


@contextlib.contextmanager
def seeded(seed: int, *key: str | int) -> Iterator[None]:
    """Seed the global CPU generator inside the block and put it back after: builds networks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, *key))
        yield
