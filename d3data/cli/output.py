"""What commands write: results to stdout, everything else to stderr."""

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from d3data.evaluation.report import Report


def say(text: str) -> None:
    """Tell the user, on stderr, something that is not the result; names in it may be anybody's."""
    shown = (
        letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1]
        for letter in text
    )
    typer.echo("".join(shown), err=True)


def say_notes(data: object) -> None:
    """What was taken of images that are no distilled set, and what was left out."""
    for note in getattr(data, "notes", ()):
        say(note)


def give(text: str, document: Any, *, as_json: bool) -> None:
    """Give a command's result, as text or as a JSON document."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else text)


def require_suffix(path: Path | None, suffix: str) -> None:
    """Refuse another suffix, and to write over a page that is not ours."""
    from d3data.cards import is_page

    if path is None:
        return
    if path.suffix.lower() != suffix:
        raise typer.BadParameter(f"{path} must end in {suffix}, as that is what is written")
    if suffix == ".html" and path.is_file() and not is_page(path.read_bytes()):
        raise typer.BadParameter(
            f"{path} exists, and d3data did not make it: choose another name, or delete it first"
        )


def require_writable(path: Path) -> None:
    """Refuse a place that cannot be written, before there is anything to write."""
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
    except OSError as failure:
        raise typer.BadParameter(f"{path}: {failure.strerror}") from None
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise typer.BadParameter(f"{path} cannot be written: you may not write to {above}")


def read_file(path: Path) -> bytes:
    """The bytes of a file that an option names."""
    if not path.is_file():
        raise typer.BadParameter(f"{path} is not a file")
    return path.read_bytes()


def read_report(path: Path) -> "Report":
    """The report in a file that an option names."""
    from d3data.evaluation.report import read_report

    return read_report(read_file(path), where=str(path))
