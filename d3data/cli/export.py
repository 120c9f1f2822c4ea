"""Commands that write data sets again: export, quantize, bake, merge."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from d3data.cli.options import Json, Name, OutFolder
from d3data.cli.output import give, say
from d3data.cli.progress import Display
from d3data.utils.paths import as_name


def export(
    name: Name,
    format: Annotated[
        Literal["imagefolder", "webdataset", "parquet", "npz"],
        typer.Option(help="What the files are."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to be made.")],
    draws: Annotated[
        int | None, typer.Option(min=1, help="Draws of each class; default: those of an epoch.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all noise.")] = 0,
    json: Json = False,
) -> None:
    """Write draws as files for other tools; run it again to continue what was stopped."""
    from d3data.data.export import export
    from d3data.data.load import load

    with Display(f"run the same command again to continue {out}") as display:
        data, progress = load(name, seed=seed), display.show
        made = export(data, out, format=format, draws_per_class=draws, progress=progress)
    if made.was_there:
        say(f"{out} exists already, and is this export")
    give(as_name(made.folder), asdict(made) | {"folder": str(made.folder)}, as_json=json)


def quantize(
    name: Name,
    bits: Annotated[
        str,
        typer.Option(help="For all tensors, such as 8; or for each kind: priors=4,decoder=8."),
    ],
    out: OutFolder,
    json: Json = False,
) -> None:
    """Write a data set again with fewer bits a value."""
    from d3data.data.requantize import quantize
    from d3data.hub import resolve

    old = resolve.resolve(name).read()
    new = quantize(old, bits=_bits(bits), out=out)
    before, after = old.ledger.content_bytes, new.ledger.content_bytes
    text = f"{as_name(out)}: {after:,} bytes of manifest and parts, where {name} has {before:,}"
    document = {"folder": str(out), "content_bytes": after, "before": before}
    give(text, document, as_json=json)


def bake(
    name: Name,
    out: OutFolder,
    draws: Annotated[int, typer.Option(min=1, help="Draws of each item that become images.")] = 1,
    bits: Annotated[int, typer.Option(help="Of a pixel's value: 32, 16, or 8 to 2.")] = 32,
    seed: Annotated[int, typer.Option(help="Of all noise.")] = 0,
    json: Json = False,
) -> None:
    """Write the images of a data set as pixels, and say what that costs."""
    from d3data.data.bake import bake
    from d3data.hub import resolve

    old = resolve.resolve(name).read()
    new = bake(old, out=out, draws_per_item=draws, bits=bits, seed=seed)
    before, after = old.ledger.content_bytes, new.ledger.content_bytes
    text = (
        f"{as_name(out)}: {after:,} bytes of manifest and parts, {after / before:.3g} times the "
        f"{before:,} of {name}"
    )
    fresh = old.manifest.content.source.random
    text += "; of what was drawn anew each time, so many draws are left" if fresh else ""
    document = {"folder": str(out), "content_bytes": after, "before": before}
    give(text, document, as_json=json)


def merge(
    sets: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Two sets or more, of other classes.")
    ],
    out: OutFolder,
    name: Annotated[str | None, typer.Option(help="Of the set; default: that of --out.")] = None,
    version: Annotated[str, typer.Option(help="Of the set, X.Y.Z.")] = "1.0.0",
    task: Annotated[
        str | None,
        typer.Option(
            help="What the real images of all classes are called; default: as the sets'."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make one data set of several, of different classes; the first keeps its class numbers."""
    from d3data.data.merge import merge

    made = merge(sets, out=out, name=name, version=version, task=task)
    content, size = made.manifest.content, made.ledger.content_bytes
    items = sum(content.items_per_class)
    document = {
        "folder": str(out),
        "classes": len(content.classes),
        "items": items,
        "content_bytes": size,
    }
    text = f"{as_name(out)}: {len(content.classes):,} classes, {items:,} items, {size:,} bytes"
    give(f"{text} of manifest and parts", document, as_json=json)


def _bits(text: str) -> int | dict[str, int]:
    try:
        if "=" not in text:
            return int(text)
        pairs = [entry.partition("=") for entry in text.split(",")]
        widths = {purpose.strip(): int(width) for purpose, _, width in pairs}
        if len(widths) < len(pairs):
            raise ValueError("a kind of tensor comes twice")
        return widths
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: write a number, or priors=4,decoder=8", param_hint="--bits"
        ) from None
