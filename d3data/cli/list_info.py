"""Commands that look data sets up: list, info."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from d3data.cli.output import Json, give, say, table

if TYPE_CHECKING:
    from d3data.hub.index import Found


def name_of_set(text: str) -> str:
    """An argument that is the name of a set; else the command ends as wrong usage."""
    from d3data.hub import names

    return _read(names.parse, text)


def name_of_repository(text: str | None) -> str | None:
    """An argument that is the name of a repository, if given; else as `name_of_set`."""
    from d3data.hub import names

    return text if text is None else _read(names.repository, text)


def _read(parse: Callable[[str], object], text: str) -> str:
    from d3data.errors import UnknownNameError

    try:
        parse(text)
    except UnknownNameError as fault:
        say(f"error: {fault}")
        raise typer.Exit(2) from None
    return text


Name = Annotated[
    str,
    typer.Argument(
        callback=name_of_set,
        help="A short name of `d3data list`, one of the Hub (org/name, org/name@1.0.0), or a "
        "folder written as ./x or /x.",
    ),
]


def list_sets(
    pattern: Annotated[str, typer.Argument(help="Such as 'digits*'.")] = "*", json: Json = False
) -> None:
    """List the data sets that are known by a short name."""
    from d3data.hub import index

    found = index.search(pattern)
    rows = [
        [
            name,
            one.entry.version or ("newest" if one.published else "not published yet"),
            one.entry.repository or "",
            _budget(one),
            "" if one.entry.accuracy is None else f"{100 * one.entry.accuracy:.1f}",
            one.entry.about,
        ]
        for name, one in found.items()
    ]
    document = {name: _document(one) for name, one in found.items()}
    headings = ["name", "version", "where", "budget", "accuracy %", "what"]
    give(table(headings, rows), document, as_json=json)


def info(name: Name, json: Json = False) -> None:
    """Show what a data set is, where it comes from, and what its bytes are spent on."""
    from d3data.artifact import summary
    from d3data.hub.resolve import resolve
    from d3data.utils.text import some, upright

    place = resolve(name)
    found = place.read()
    page, ledger = found.manifest, found.ledger
    made, shape = page.about.provenance, page.content.image
    lines = [
        f"{page.about.name} {page.about.version}",
        f"made from   {made.task} ({made.source}; licence {made.license})",
        f"method      {page.about.method.name} ({page.about.method.reference})",
        f"images      {shape.channels} x {shape.size} x {shape.size}, "
        f"{len(page.content.classes)} classes",
        f"items       {sum(part.items for part in page.content.parts)}, in parts: "
        f"{len(page.content.parts)}; {page.content.labels.kind} labels",
        f"stored      {summary.stored(page)}",
        f"content     {page.content_sha256}",
        *([f"commit      {place.revision}"] if place.revision else []),
        f"folder      {place.folder}",
        *([f"not fetched {some(left_out)}"] if (left_out := place.not_downloaded(page)) else []),
        "",
        str(ledger),
    ]
    numbers = {
        "published_values": ledger.published_values,
        "stored_values": ledger.stored_values,
        "ipc_floats": ledger.ipc_floats,
        "ipc_bytes": ledger.ipc_bytes,
        "bytes": dict(ledger.purposes),
    }
    document = {
        "folder": str(place.folder),
        "revision": place.revision,
        "manifest": page.dump(),
        "ledger": numbers,
    }
    give(upright("\n".join(lines)), document, as_json=json)


def _budget(found: "Found") -> str:
    """What a set was to fit into."""
    if (budget := found.entry.budget) is None:
        return ""
    return f"{budget.values:,} values" if budget.values else f"{budget.bytes:,} bytes"


def _document(found: "Found") -> dict[str, object]:
    folder = found.shipped
    return {**found.entry.dump(), "folder": None if folder is None else str(folder)}
