"""JSON in exactly one spelling, and a parser for pages that others wrote."""

import json
from collections import Counter
from typing import Any

import rfc8785

from d3data.errors import FormatError

MOST_BYTES = 4 << 20
MOST_DEPTH = 16
MOST_MARKS = 1 << 18  # of "[", "{" and "," in a page: what it takes in memory
LARGEST_WHOLE = 2**53 - 1


def encode(value: Any) -> bytes:
    """RFC 8785: JSON with sorted keys, no spaces, and numbers as ECMAScript writes them.

    >>> encode({"b": 1.0, "a": [True, 1e30]})
    b'{"a":[true,1e+30],"b":1}'
    """
    return rfc8785.dumps(value)


def decode(page: bytes, *, where: str) -> dict[str, Any]:
    """The JSON object in `page`, whose size, depth and keys nobody has checked before.

    FormatError where it is larger than 4 MiB, has too many values, is deeper than 16, has a key
    twice or a whole number that RFC 8785 does not write, or is not JSON.
    """
    if len(page) > MOST_BYTES:
        raise FormatError(f"{where}: {len(page)} bytes of JSON; at most {MOST_BYTES} are read")
    if (marks := sum(map(page.count, (b"[", b"{", b",")))) > MOST_MARKS:
        raise FormatError(
            f"{where}: JSON with {marks} commas and opening brackets; "
            f"at most {MOST_MARKS} are read"
        )
    too_deep = f"{where}: JSON that is nested deeper than {MOST_DEPTH}"
    try:
        value = json.loads(
            page.decode(),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_whole,
        )
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
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:60]!r} comes twice")
    return record


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def _whole(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > LARGEST_WHOLE:
        raise ValueError(f"a whole number beyond 2^53: {digits[:20]}")
    return int(digits)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = [v.values() if isinstance(v, dict) else v for v in level]
        level = [w for v in inner for w in v if isinstance(w, dict | list)]
    return depth
