"""Arguments of public functions, checked before anything is done with them."""

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
    """The whole number that an argument is, of Python or of NumPy, from `least` to `most`.

    Raises:
        D3DataError: it is none, or out of this range; `error` says which kind of it.

    >>> whole(3, "n", least=1)
    3
    """
    number = None if isinstance(value, bool) else integer(value)
    if number is not None and least <= number and (most is None or number <= most):
        return number
    limits = f"from {least} on" if most is None else f"from {least} to {most:,}"
    raise error(f"{name}={value!r}: it is a whole number {limits}")


def seed(value: object) -> int:
    """A seed, 0 <= seed < 2^64.

    Raises:
        D3DataError: it is none.
    """
    return whole(value, "seed", most=(1 << 64) - 1)


def position(index: object, of: range, what: str) -> int:
    """The place of an index in a sequence, counted from the end where it is negative.

    Raises:
        IndexError: there is no such place.
        D3DataError: it is no whole number.

    >>> position(-1, range(10), "draws")
    9
    """
    number = integer(index)
    if number is None:
        raise D3DataError(
            f"index {index!r}: an index of {what} is a whole number; some at once are "
            "torch.utils.data.Subset(data, indices)"
        )
    if not -len(of) <= number < len(of):
        raise IndexError(f"index {number} is out of range: there are {len(of)} {what}")
    return of[number]


def integer(value: object) -> int | None:
    """The whole number that a value is, of Python, NumPy or PyTorch; None where it is none."""
    try:
        return operator.index(value) if isinstance(value, SupportsIndex) else None
    except TypeError:  # tensors have an index, some of them
        return None
