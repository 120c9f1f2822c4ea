"""Options of commands that have jobs done, and the executor that they choose."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from d3data.errors import RecipeError

if TYPE_CHECKING:
    from d3data.distill import Ray, Slurm

Name = Literal["processes", "inline", "ray", "slurm"]
Where = Annotated[
    Name, typer.Option(help="What does the jobs: processes here, this one, or a cluster.")
]
OnCluster = Annotated[
    Literal["processes", "ray", "slurm"],
    typer.Option(help="What does the jobs: processes here, or a cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="With ray: the cluster, auto for that of this machine; default: one of its own.",
    ),
]
Gpus = Annotated[
    float,
    typer.Option(help="With ray and --device cuda: what a job takes of a GPU, such as 0.5."),
]
Carry = Annotated[
    bool,
    typer.Option("--carry", help="With ray: files go through its store, for no disk is shared."),
]
SlurmOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE",
        help="With slurm: what sbatch is told, such as partition=gpu, account=me or time=600 "
        "(minutes); or a .toml of such keys. Repeat it.",
    ),
]


def executor_of(
    name: Name,
    workers: int | None,
    address: str | None,
    gpus: float,
    carry: bool,
    slurm: Sequence[str] | None,
) -> "Literal['processes', 'inline'] | Ray | Slurm":
    """The executor that the options choose; those of another one are wrong usage."""
    if (address or carry or gpus != 1.0) and name != "ray":
        raise typer.BadParameter("--address, --gpus and --carry are for --executor ray")
    if slurm and name != "slurm":
        raise typer.BadParameter("--slurm is for --executor slurm")
    if name == "ray":
        from d3data.distill import Ray

        return Ray(address, gpus, workers, carry)
    if name == "slurm":
        from d3data.distill import Slurm

        return Slurm(_read(slurm or ()), workers)
    return name


def _read(texts: Sequence[str]) -> dict[str, Any]:
    """What sbatch is told; later options win."""
    told: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if equals:
            told[key.replace("-", "_")] = int(value) if value.isdecimal() else value
        elif text.endswith(".toml"):
            try:
                told |= tomllib.loads(Path(text).read_text("utf-8"))
            except (OSError, ValueError) as failure:
                raise RecipeError(f"{text} cannot be read: {failure}") from None
        else:
            raise typer.BadParameter(f"{text!r}: write --slurm KEY=VALUE, or a path to a .toml")
    return told
