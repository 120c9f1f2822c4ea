"""Commands that make artifacts: recipes, distill, pretrain-generator, status."""

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from d3data.cli import completion
from d3data.cli.executors import Address, Carry, Gpus, SlurmOptions, Where, executor_of
from d3data.cli.forecast import give_forecast
from d3data.cli.options import Data, Device, Json
from d3data.cli.output import give, say
from d3data.cli.progress import Display, stoppable
from d3data.cli.verdict import judged
from d3data.utils.paths import as_name
from d3data.utils.text import duration, table

if TYPE_CHECKING:
    pass

recipes: typer.Typer = typer.Typer(
    help="The recipes that come with d3data.", invoke_without_command=True
)


@recipes.callback()
def list_recipes(context: typer.Context, json: Json = False) -> None:
    """List the recipes that come with d3data."""
    from d3data.distill import get_recipe, list_recipes

    if context.invoked_subcommand is None:
        names = list_recipes()
        rows = [] if json else [[name, get_recipe(name).description] for name in names]
        give(table(["name", "what it makes"], rows), names, as_json=json)


@recipes.command()
def show(
    name: Annotated[
        str,
        typer.Argument(help="A name of `d3data recipes`.", autocompletion=completion.recipes),
    ],
) -> None:
    """Print a recipe: TOML, to be redirected into a file and changed."""
    from d3data.distill.recipe_files import recipe_text

    typer.echo(recipe_text(name), nl=False)


def distill(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A name of `d3data recipes`, or a path to a .toml.",
            autocompletion=completion.recipes,
        ),
    ],
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; default: runs/NAME.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key, such as steps=2000."),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help="A finished set to go on from, in place of a warm start: a name or a folder.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same as --set seed=N.")] = None,
    device: Device = "cpu",
    executor: Where = "processes",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Jobs at a time; default: one a core or accelerator.")
    ] = None,
    address: Address = None,
    gpus: Gpus = 1.0,
    carry: Carry = False,
    slurm: SlurmOptions = None,
    experts: Annotated[
        Path | None, typer.Option(help="A folder of trajectories that several runs share.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be done, and what it takes.")
    ] = False,
    gpu: Annotated[
        str | None,
        typer.Option(help="With --dry-run: also the time on a GPU such as A100, assumed."),
    ] = None,
    verdict: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="MINUTES",
            help="How long to evaluate the set then, beside real images of equal bytes; 0: not.",
        ),
    ] = 3.0,
    json: Json = False,
) -> None:
    """Make an artifact from a recipe; the same command resumes a run that was stopped."""
    from d3data import distill
    from d3data.hub import resolve
    from d3data.images.presets import PRESETS
    from d3data.utils.device import find_resources

    changes = [*(set_ or []), *([] if seed is None else [f"seed={seed}"])]
    chosen = distill.get_recipe(recipe, overrides=changes)
    folder = out or Path("runs") / chosen.name
    start = None if from_ is None else resolve.resolve(from_).read()
    place = executor_of(executor, workers, address, gpus, carry, slurm)
    if dry_run:
        resources = (
            find_resources(device, workers, inline=executor == "inline")
            if isinstance(place, str)
            else place.resources(device)
        )
        plan = distill.prepare(
            chosen,
            out=folder,
            data=data,
            resources=resources,
            experts=experts,
            start=start,
            imagine=True,
        )
        give_forecast(plan, resources, gpu, as_json=json)
        if verdict and isinstance(place, str):
            say(f"and then a verdict, about {duration(60 * verdict)} (--verdict 0: none)")
        return
    if gpu is not None:
        raise typer.BadParameter("--gpu is for --dry-run; --device says where to compute")
    stopped = f"what was done is saved, and the same command goes on with {folder}"
    with Display(stopped) as display, stoppable(display.show, executor == "inline") as watch:
        made = distill.run(
            chosen,
            out=folder,
            data=data,
            executor=place,
            workers=workers,
            device=device,
            experts=experts,
            start=start,
            progress=watch,
        )
    here = isinstance(place, str)  # else this machine may have no such device
    real = chosen.task.load(data) if verdict and here else None
    tested = real is None or real.test is not None
    own = "" if tested or chosen.task.name in PRESETS else " --split validation"
    where, more = quote(as_name(made)), f" --data {quote(data)}" if data else ""
    report = None if real is None else judged(made, real, device, verdict)
    say(f"next: d3data preview {where}; d3data evaluate {where}{more}{own}")
    given = {"artifact": str(made), "verdict": report and report.dump()}
    give(as_name(made), given, as_json=json)


def pretrain_generator(
    task: Annotated[
        str, typer.Argument(help="A preset, or any name with --data; or a recipe, for its task.")
    ],
    out: Annotated[Path, typer.Option(help="The file to be made, .safetensors.")],
    data: Data = None,
    size: Annotated[
        int | None, typer.Option(min=8, max=512, help="Of the images, in pixels.")
    ] = None,
    width: Annotated[int, typer.Option(min=1, max=512, help="Channels of a map, at most.")] = 64,
    base: Annotated[int, typer.Option(help="Channels times pixels of a side, at most.")] = 1024,
    styles: Annotated[int, typer.Option(min=1, max=512, help="Length of a style.")] = 64,
    steps: Annotated[int, typer.Option(min=1, help="Of Adam, on 64 images each.")] = 4000,
    seed: Annotated[int, typer.Option(help="Of all random numbers.")] = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Fit a generator to images, for warm_start.weights of a recipe; repeat it to resume."""
    from d3data.distill.pretraining import pretrain_generator
    from d3data.utils.hashing import file_sha256

    sizes = {"width": width, "base": base, "styles": styles}
    stopped = "what was done is saved, and the same command goes on"
    with Display(stopped) as display, stoppable(display.show, True) as watch:
        made = pretrain_generator(
            task,
            out=out,
            data=data,
            size=size,
            **sizes,
            steps=steps,
            seed=seed,
            device=device,
            progress=watch,
        )
    digest = file_sha256(made)
    network = ", ".join(f"{key} = {value}" for key, value in sizes.items())
    say(f'in a recipe: source.network = {{ {network} }}, warm_start.weights = "{made}"')
    text = f"{made}: {made.stat().st_size:,} bytes, sha256 {digest}"
    give(text, {"file": str(made), "sha256": digest}, as_json=json)


def status(
    folder: Annotated[Path, typer.Argument(help="A run folder.")], json: Json = False
) -> None:
    """Show how far a run is."""
    from d3data.distill import status

    run = status(folder)
    rows = [
        [
            f"{part.number:03d}",
            len(part.classes),
            part.stage,
            f"{part.step}/{part.steps}" if part.steps else "",
            "" if part.loss is None else f"{part.loss:.4g}",
            duration(part.seconds),
            "" if part.seconds_left is None else duration(part.seconds_left),
        ]
        for part in run.subtasks
    ]
    state = "finished" if run.artifact else f"not running; to resume it: {run.command}"
    if run.driver:
        state = f"running, as {run.driver}"
    jobs = [f"{stage} {done} of {count}" for stage, (done, count) in run.stages.items()]
    lines = [
        f"{run.recipe} ({run.identity[:12]}): {run.done} of {run.total} jobs done; {state}",
        *([", ".join(jobs)] if jobs else []),
        table(["subtask", "classes", "stage", "step", "loss", "took", "left"], rows),
        *([f"last failure: {run.last_failure}"] if run.last_failure else []),
        *([f"artifact: {as_name(run.artifact)}"] if run.artifact else []),
    ]
    document = asdict(run) | {"artifact": run.artifact and str(run.artifact)}
    give("\n".join(lines), document, as_json=json)
