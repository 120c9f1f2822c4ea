"""The command export."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from d3data.cli.list_info import Name
from d3data.cli.output import Json, give, say
from d3data.cli.progress import Display


def export(
    name: Name,
    format: Annotated[
        Literal["imagefolder", "webdataset", "parquet", "npz"],
        typer.Option(help="What the files are."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to be made.")],
    draws: Annotated[
        int | None, typer.Option(min=1, help="Of each class; those of an epoch unless given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all noise.")] = 0,
    json: Json = False,
) -> None:
    """Write draws as files for other tools; the same command goes on with what was stopped."""
    from d3data.data.export import export
    from d3data.data.load import load

    try:
        with Display() as display:
            made = export(
                load(name, seed=seed),
                out,
                format=format,
                draws_per_class=draws,
                progress=display.step,
            )
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on with {out}")
        raise typer.Exit(130) from None
    if made.was_there:
        say(f"{out} is there already, and is this export")
    document = {
        "folder": str(made.folder),
        "format": made.format,
        "images": made.images,
        "was_there": made.was_there,
    }
    give(str(made.folder), document, as_json=json)
