"""What commands write: results to stdout, everything else to stderr."""

import json
from typing import Annotated, Any

import typer

from d3data.utils.table import table as table

Json = Annotated[bool, typer.Option("--json", help="Give one JSON document and nothing else.")]


def say(text: str) -> None:
    """Tell the user something that is not the result."""
    typer.echo(text, err=True)


def give(text: str, document: Any, *, as_json: bool) -> None:
    """Give a command's result, as text or as a JSON document."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else text)


def spell(seconds: float) -> str:
    """A duration for people.

    >>> spell(42), spell(150), spell(5000)
    ('42 s', '2 min', '1 h 23 min')
    """
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
