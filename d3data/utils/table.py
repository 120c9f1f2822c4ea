"""Tables as text, for terminals."""

import re
from collections.abc import Sequence
from typing import Any

NUMERIC = re.compile(r"[-\d][\d.,]*( ± [\d.]+)?")


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as aligned text; columns of numbers are aligned to the right.

    >>> print(table(["name", "bytes"], [["parts", 1200], ["labels", "-"]]))
    name    bytes
    parts   1,200
    labels      -
    """
    cells = [[_text(value) for value in row] for row in rows]
    lines = [list(headings), *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [
        bool(cells) and all(map(NUMERIC.fullmatch, column)) for column in zip(*cells, strict=True)
    ]
    right = right or [False] * len(headings)
    return "\n".join(
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
