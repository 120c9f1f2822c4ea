"""The command evaluate."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from d3data.cli.catalogue import Name
from d3data.cli.display import Display
from d3data.cli.making import Data, Device
from d3data.cli.output import Json, give


def evaluate(
    name: Name,
    data: Data = None,
    protocol: Annotated[str, typer.Option(help="How networks are trained.")] = "standard",
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many networks; the protocol's unless given.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Also train on real images of the same size.")
    ] = True,
    split: Annotated[
        Literal["test", "validation"], typer.Option(help="The real images to test on.")
    ] = "test",
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="Write the report here, as JSON.")] = None,
    json: Json = False,
) -> None:
    """Train networks on a data set, and test them on real images."""
    from d3data.evaluation import evaluate
    from d3data.files import write_json

    with Display() as display:
        report = evaluate(
            name,
            data_path=data,
            protocol=protocol,
            seeds=None if seeds is None else range(seeds),
            baselines=("random",) if baselines else (),
            split=split,
            device=device,
            progress=display.step,
        )
    if out is not None:
        write_json(out, report.dump())
    give(report.table(), report.dump(), as_json=json)
