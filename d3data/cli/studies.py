"""The command that runs a study: several methods, distilled and evaluated alike."""

from pathlib import Path
from typing import Annotated

import typer

from d3data.cli.executors import (
    Address,
    Gpus,
    OnCluster,
    SlurmOptions,
    executor_of,
)
from d3data.cli.options import Data, Device, Json
from d3data.cli.output import give, say
from d3data.cli.progress import Display, stoppable


def study(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A study: a .toml.")],
    out: Annotated[Path, typer.Option(help="The folder of its runs and results.")],
    data: Data = None,
    device: Device = "cpu",
    workers: Annotated[int, typer.Option(min=1, help="Entries that are done at a time.")] = 1,
    executor: OnCluster = "processes",
    address: Address = None,
    gpus: Gpus = 1.0,
    slurm: SlurmOptions = None,
    json: Json = False,
) -> None:
    """Distill and evaluate several sets alike, and print one table of them.

    If interrupted, run it again to continue; entries that are done stay.
    """
    from d3data.evaluation import studies
    from d3data.executors.base import Executor, Inline
    from d3data.executors.processes import Processes
    from d3data.utils.device import find_resources

    place = executor_of(executor, workers, address, gpus, False, slurm)
    chosen: Executor
    if not isinstance(place, str):
        chosen, resources = place, place.resources(device)
    else:
        resources = find_resources(device, workers)
        chosen = Inline() if workers == 1 else Processes(workers, resources.devices)
    stopped = "run the same command again to continue from here"
    inline = isinstance(chosen, Inline)
    with Display(stopped) as display, stoppable(display.show, inline) as watch:
        page = studies.run(
            file,
            out=out,
            data=data,
            executor=chosen,
            device=resources.device,
            threads=resources.threads(len(studies.read_study(file).entries), 512),
            progress=watch,
        )
    say(f"results: {out / studies.PAGE}")
    give(studies.table(page), page.dump(), as_json=json)
