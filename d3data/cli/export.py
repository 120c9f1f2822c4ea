"""The command export."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from d3data.cli.options import Draws, Json, Name
from d3data.cli.output import as_name, give, say
from d3data.cli.progress import Display


def export(
    name: Name,
    format: Annotated[
        Literal["imagefolder", "webdataset", "parquet", "npz"],
        typer.Option(help="What the files are."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to be made.")],
    draws: Draws = None,
    seed: Annotated[int, typer.Option(help="Of all noise.")] = 0,
    json: Json = False,
) -> None:
    """Write draws as files for other tools; run it again to continue what was stopped."""
    from d3data.data.export import export
    from d3data.data.load import load

    with Display(f"run the same command again to continue {out}") as display:
        made = export(
            load(name, seed=seed),
            out,
            format=format,
            draws_per_class=draws,
            progress=display.step,
        )
    if made.was_there:
        say(f"{out} exists already, and is this export")
    document = {
        "folder": str(made.folder),
        "format": made.format,
        "images": made.images,
        "was_there": made.was_there,
    }
    give(as_name(made.folder), document, as_json=json)
