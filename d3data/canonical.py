"""JSON in exactly one spelling, and a parser for pages that others wrote."""

import json
from typing import Any

import rfc8785

from d3data.errors import FormatError

MOST_BYTES = 4 << 20
MOST_DEPTH = 16


def encode(value: Any) -> bytes:
    """RFC 8785: JSON with sorted keys, no spaces, and numbers as ECMAScript writes them.

    >>> encode({"b": 1.0, "a": [True, 1e30]})
    b'{"a":[true,1e+30],"b":1}'
    """
    return rfc8785.dumps(value)


def decode(page: bytes, *, where: str) -> dict[str, Any]:
    """The JSON object in `page`, whose size, depth and keys nobody has checked before.

    Raises:
        FormatError: larger than 4 MiB, deeper than 16, not JSON, or a key that comes twice.
    """
    if len(page) > MOST_BYTES:
        raise FormatError(f"{where}: {len(page)} bytes of JSON; at most {MOST_BYTES} are read")
    too_deep = f"{where}: JSON that is nested deeper than {MOST_DEPTH}"
    try:
        value = json.loads(page.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise FormatError(too_deep) from None
    except ValueError as fault:
        raise FormatError(f"{where}: not JSON: {fault}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{where}: not a JSON object")
    if _depth(value) > MOST_DEPTH:
        raise FormatError(too_deep)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise ValueError(f"the key {key[:60]!r} comes twice")
        record[key] = value
    return record


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [v.values() if isinstance(v, dict) else v for v in level]
        level = [w for v in inner for w in v if isinstance(w, dict | list)]
    return depth
