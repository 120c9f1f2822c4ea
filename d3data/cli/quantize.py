"""The command that stores a data set in fewer bits: quantize."""

from typing import Annotated

import typer

from d3data.cli.options import Json, Name, OutFolder
from d3data.cli.output import as_name, give


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
    from d3data.data.requantize import quantize as write
    from d3data.hub import resolve

    old = resolve.resolve(name).read()
    new = write(old, bits=_bits(bits), out=out)
    before, after = old.ledger.content_bytes, new.ledger.content_bytes
    text = f"{as_name(out)}: {after:,} bytes of manifest and parts, where {name} has {before:,}"
    document = {"folder": str(out), "content_bytes": after, "before": before}
    give(text, document, as_json=json)


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
