"""Commands that look data sets up: list, info."""

from typing import TYPE_CHECKING, Annotated

import typer

from d3data.cli.options import Json, Name
from d3data.cli.output import as_name, give

if TYPE_CHECKING:
    from d3data.hub.index import Found


def list_sets(
    pattern: Annotated[str, typer.Argument(help="Such as 'digits*'.")] = "*", json: Json = False
) -> None:
    """List the data sets that are known by a short name."""
    from d3data.hub import index
    from d3data.utils.text import table

    sets = index.search(pattern)
    document = {
        name: {**one.entry.dump(), "folder": one.shipped and str(one.shipped)}
        for name, one in sets.items()
    }
    rows = [[name, *_cells(one)] for name, one in sets.items()]
    headings = ["name", "version", "where", "budget", "accuracy %", "what"]
    give(table(headings, rows), document, as_json=json)


def info(name: Name, json: Json = False) -> None:
    """Show what a data set is, where it comes from, and what its bytes are spent on."""
    from d3data.artifact import summary
    from d3data.hub.resolve import resolve
    from d3data.utils.text import some, upright

    place = resolve(name)
    artifact = place.read()
    page, ledger = artifact.manifest, artifact.ledger
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
        f"folder      {as_name(place.folder)}",
        *([f"not fetched {some(left_out)}"] if (left_out := place.not_downloaded(page)) else []),
        "",
        str(ledger),
    ]
    counts = ("published_values", "stored_values", "ipc_floats", "ipc_bytes")
    numbers = {count: getattr(ledger, count) for count in counts}
    document = {
        "folder": str(place.folder),
        "revision": place.revision,
        "manifest": page.dump(),
        "ledger": numbers | {"bytes": dict(ledger.purposes)},
    }
    give(upright("\n".join(lines)), document, as_json=json)


def _cells(one: "Found") -> list[str]:
    entry, budget, fits = one.entry, one.entry.budget, ""
    if budget is not None:
        fits = f"{budget.values:,} values" if budget.values else f"{budget.bytes:,} bytes"
    version = entry.version or ("newest" if one.published else "not published yet")
    accuracy = "" if entry.accuracy is None else f"{100 * entry.accuracy:.1f}"
    return [version, entry.repository or "", fits, accuracy, entry.about]
