"""Commands that look at data sets: list, info, preview."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import typer

from d3data.cli.output import Json, give, say, table

Name = Annotated[
    str, typer.Argument(help="A short name of `d3data list`, or a folder written as ./x or /x.")
]


def list_sets(
    pattern: Annotated[str, typer.Argument(help="Such as 'digits*'.")] = "*", json: Json = False
) -> None:
    """List the data sets that are known by a short name."""
    from d3data.hub import names

    found = {name: entry for name, entry in names.index().items() if fnmatch(name, pattern)}
    rows = [[name, entry.version or "not made yet", entry.about] for name, entry in found.items()]
    document = {name: entry.dump() for name, entry in found.items()}
    give(table(["name", "version", "what"], rows), document, as_json=json)


def info(name: Name, json: Json = False) -> None:
    """Show what a data set is, where it comes from, and what its bytes are spent on."""
    from d3data import artifact
    from d3data.hub import names

    place = names.resolve(name)
    found = artifact.read(place.folder)
    place.require(found.manifest)
    page, ledger = found.manifest, found.ledger
    made, shape = page.about.provenance, page.content.image
    lines = [
        f"{page.about.name} {page.about.version}",
        f"made from   {made.task} ({made.source}; licence {made.licence})",
        f"method      {page.about.method.name} ({page.about.method.reference})",
        f"images      {shape.channels} x {shape.size} x {shape.size}, "
        f"{len(page.content.classes)} classes",
        f"items       {sum(part.items for part in page.content.parts)} in "
        f"{len(page.content.parts)} parts, {page.content.labels.kind} labels",
        f"content     {page.content_sha256}",
        f"folder      {place.folder}",
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
    document = {"folder": str(place.folder), "manifest": page.dump(), "ledger": numbers}
    give("\n".join(lines), document, as_json=json)


def preview(
    name: Name,
    out: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("preview.png"),
) -> None:
    """Draw a picture: a row for each class, its draws side by side."""
    from d3data.cli.grid import grid
    from d3data.files import write_bytes
    from d3data.loading import load

    picture, rows = grid(load(name, output="float"))
    write_bytes(out, picture)
    say(f"{rows} classes, from the top")
    give(str(out), {"preview": str(out)}, as_json=False)
