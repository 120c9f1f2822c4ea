"""Checks of the arguments of public functions."""

import operator
from typing import SupportsIndex

from d3data.errors import D3DataError


def whole(
    value: object,
    name: str,
    *,
    least: int = 0,
    most: int | None = None,
    error: type[D3DataError] = D3DataError,
) -> int:
    """An integer argument, of Python or NumPy, from `least` to `most`; else `error` is raised."""
    number = None if isinstance(value, bool) else integer(value)
    if number is not None and least <= number and (most is None or number <= most):
        return number
    limits = f">= {least}" if most is None else f"from {least} to {most:,}"
    raise error(f"{name} must be an integer {limits}, got {value!r}")


def seed(value: object) -> int:
    """A seed, 0 <= seed < 2^64."""
    return whole(value, "seed", most=(1 << 64) - 1)


def position(index: object, of: range, what: str) -> int:
    """The element of `of` at an index, which counts from the end where it is negative.

    IndexError where it is out of range, D3DataError where it is not an integer.
    """
    number = integer(index)
    if number is None:
        raise D3DataError(
            f"an index of {what} must be an integer, got {index!r}; for several at once use "
            "torch.utils.data.Subset(data, indices)"
        )
    if not -len(of) <= number < len(of):
        raise IndexError(f"index {number} is out of range: there are {len(of):,} {what}")
    return of[number]


def integer(value: object) -> int | None:
    """The integer that a value of Python, NumPy or PyTorch is, or None where it is not one."""
    try:
        return operator.index(value) if isinstance(value, SupportsIndex) else None
    except TypeError:  # tensors have the method, but only some of them an index
        return None
