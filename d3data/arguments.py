"""Arguments of public functions, checked before anything is done with them."""

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
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        number = value.__index__()
        if least <= number and (most is None or number <= most):
            return number
    limits = f"from {least} on" if most is None else f"from {least} to {most:,}"
    raise error(f"{name}={value!r}: it is a whole number {limits}")


def position(index: SupportsIndex, of: range, what: str) -> int:
    """The place of an index in a sequence, counted from the end where it is negative.

    Raises:
        IndexError: there is no such place.

    >>> position(-1, range(10), "draws")
    9
    """
    if not -len(of) <= index.__index__() < len(of):
        raise IndexError(f"index {index} is out of range: there are {len(of)} {what}")
    return of[index]
