"""What commands write: results to stdout, everything else to stderr."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Give one JSON document and nothing else.")]


def say(text: str) -> None:
    """Tell the user something that is not the result."""
    typer.echo(text, err=True)


def give(text: str, document: Any, *, as_json: bool) -> None:
    """Give a command's result, as text or as a JSON document."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else text)


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as aligned text; numbers go to the right.

    >>> print(table(["name", "bytes"], [["parts", 1200]]))
    name   bytes
    parts  1,200
    """
    cells = [[_cell(value) for value in row] for row in rows]
    columns = list(zip(headings, *cells, strict=True)) if rows else [(h,) for h in headings]
    widths = [max(map(len, column)) for column in columns]
    right = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        for i in range(len(headings))
    ]
    lines = [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [list(headings), *cells]
    ]
    return "\n".join(lines)


def spell(seconds: float) -> str:
    """A duration for people.

    >>> spell(42), spell(150), spell(5000)
    ('42 s', '2 min', '1 h 23 min')
    """
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
