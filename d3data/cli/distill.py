"""Commands that make artifacts: recipes, init, distill, status."""

from dataclasses import asdict
from pathlib import Path
from shlex import quote, split
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from d3data.cli.output import Json, give, say, spell, table
from d3data.cli.progress import Display
from d3data.distill.recipes import recipe_names, recipe_text

if TYPE_CHECKING:
    from d3data.distill.plan import Plan
    from d3data.images.scan import ImageScan

recipes = typer.Typer(help="The recipes that come with d3data.", invoke_without_command=True)

Data = Annotated[
    str | None,
    typer.Option(help="Where the real images are, unless a preset or the recipe knows."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.")]


@recipes.callback()
def list_recipes(context: typer.Context, json: Json = False) -> None:
    """List the recipes that come with d3data."""
    if context.invoked_subcommand is None:
        names = recipe_names()
        give("\n".join(names), names, as_json=json)


@recipes.command()
def show(name: Annotated[str, typer.Argument(help="A name of `d3data recipes`.")]) -> None:
    """Print a recipe: TOML, to be redirected into a file and changed."""
    typer.echo(recipe_text(name), nl=False)


def init(
    place: Annotated[
        str,
        typer.Argument(metavar="DATA", help="A folder of images, or hf:... or torchvision:..."),
    ],
    budget: Annotated[
        str, typer.Option(help="What manifest and parts may take on disk.")
    ] = "100kB",
    out: Annotated[Path, typer.Option(help="Where the recipe goes.")] = Path("recipe.toml"),
) -> None:
    """Look at real images, and write a recipe for them."""
    from d3data.distill.suggest import parse_size, suggest
    from d3data.images.scan import scan_images
    from d3data.utils.atomic import write_bytes

    if out.suffix != ".toml":
        raise typer.BadParameter(f"{out}: the path to a recipe must end in .toml")
    if out.exists():
        raise typer.BadParameter(f"{out} exists: give another --out, or remove it")
    size, found = parse_size(budget), scan_images(place)
    for line in describe(found):
        say(line)
    recipe = suggest(found, size=size)
    command = f"d3data distill {quote(str(out))} --data {quote(place)}"
    made = f"d3data init {quote(place)} --budget {quote(budget)}"
    header = "".join(f"# {line}\n" for line in f"Made by {made}\n{command}".splitlines())
    write_bytes(out, (f"{header}\n{recipe.to_toml()}").encode())
    if "test" not in found.counts:
        say("no test split was found: evaluate with --split validation")
    say(
        f"images of {recipe.task.size} px, {recipe.items_per_class} priors a class and one "
        f"decoder; now: {command}"
    )
    typer.echo(str(out))


def describe(found: "ImageScan") -> list[str]:
    """What a look at images found, a line each."""
    sizes = ", ".join(f"{width}x{height} ({count})" for width, height, count in found.sizes[:4])
    modes = ", ".join(f"{mode} ({count})" for mode, count in found.modes[:4])
    counts = [
        f"{split}: {sum(each)} images, {min(each)} to {max(each)} a class"
        for split, each in found.counts.items()
        if each
    ]
    return [
        f"{found.place}: {found.total} images of {len(found.classes)} classes, "
        f"{found.checked} looked at",
        *counts,
        f"sizes: {sizes}{' ...' if len(found.sizes) > 4 else ''}",
        f"modes: {modes}",
        f"rule: {found.spec.channels} x {found.spec.size} x {found.spec.size}, {found.spec.fit}",
        *(f"problem: {problem}" for problem in found.problems),
    ]


def distill(
    recipe: Annotated[
        str, typer.Argument(help="A name of `d3data recipes`, or a path to a .toml.")
    ],
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; runs/NAME unless given.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key, such as steps=2000."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same as --set seed=N.")] = None,
    device: Device = "cpu",
    executor: Annotated[
        Literal["processes", "inline"], typer.Option(help="Who does the jobs.")
    ] = "processes",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Jobs at a time; one a core or accelerator.")
    ] = None,
    launcher: Annotated[
        str,
        typer.Option(
            help="A command that begins each worker on a machine of its own, such as "
            "'srun -n1 --gpus=1' or 'ssh node{worker}'."
        ),
    ] = "",
    experts: Annotated[
        Path | None, typer.Option(help="A folder of trajectories that several runs share.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and what it takes.")
    ] = False,
    gpu: Annotated[
        str | None,
        typer.Option(help="With --dry-run: hours on another accelerator, such as A100."),
    ] = None,
    json: Json = False,
) -> None:
    """Make an artifact from a recipe; the same command goes on with what was stopped."""
    from d3data import distill
    from d3data.distill.resources import machine

    changes = [*(set_ or []), *([] if seed is None else [f"seed={seed}"])]
    chosen = distill.load_recipe(recipe, overrides=changes)
    folder = out or Path("runs") / chosen.name
    begun = split(launcher)
    place = machine(device, workers, inline=executor == "inline", elsewhere=bool(begun))
    if dry_run:
        plan = distill.prepare(
            chosen, out=folder, data=data, place=place, experts=experts, imagine=True
        )
        _foretell(plan, device, gpu, as_json=json)
        return
    if gpu is not None:
        raise typer.BadParameter("--gpu is for --dry-run; --device says where to compute")
    try:
        with Display() as display:
            made = distill.run(
                chosen,
                out=folder,
                data=data,
                executor=executor,
                workers=workers,
                launcher=begun,
                device=device,
                experts=experts,
                progress=display.happened,
            )
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on with {folder}")
        raise typer.Exit(130) from None
    give(str(made), {"artifact": str(made)}, as_json=json)


def _foretell(plan: "Plan", device: str, gpu: str | None, *, as_json: bool) -> None:
    from d3data.distill.forecast import forecast, rates

    if plan.imagined:
        say(f"{plan.task.name} is not on this machine: planned with as many black images")
    speeds = rates(plan, device, gpu)
    numbers, stages = plan.numbers(), forecast(plan)
    rows = [
        [
            stage.name,
            stage.jobs,
            stage.steps,
            round(stage.flops / 1e12),
            f"{stage.memory / 1e9:.2f}",
            f"{stage.disk / 1e9:.3f}",
            f"{stage.traffic / 1e9:.1f}",
            *(f"{stage.hours(speed):.3g}" for speed in speeds.values()),
        ]
        for stage in stages
    ]
    units = ["TFLOP", "GB memory", "GB disk", "GB read", *(f"hours, {name}" for name in speeds)]
    lines = [
        table(["what", "number"], list(numbers.items())),
        "",
        table(["stage", "jobs", "steps", *units], rows),
    ]
    document = numbers | {"stages": [stage.dump() for stage in stages], "flop_per_s": speeds}
    give("\n".join(lines), document, as_json=as_json)


def status(
    folder: Annotated[Path, typer.Argument(help="A run folder.")], json: Json = False
) -> None:
    """Show how far a run is."""
    from d3data.distill import status

    found = status(folder)
    rows = [
        [
            f"{part.number:03d}",
            len(part.classes),
            part.stage,
            f"{part.step}/{part.steps}" if part.steps else "",
            "" if part.loss is None else f"{part.loss:.4g}",
            spell(part.seconds),
            "" if part.seconds_left is None else spell(part.seconds_left),
        ]
        for part in found.subtasks
    ]
    lines = [
        f"{found.recipe} ({found.identity[:12]}): jobs done: {found.done} of {found.total}; "
        + (f"driven by {found.driver}" if found.driver else "nobody drives it"),
        table(["subtask", "classes", "stage", "step", "loss", "took", "left"], rows),
        *([f"last failure: {found.last_failure}"] if found.last_failure else []),
        *([f"artifact: {found.artifact}"] if found.artifact else []),
    ]
    document = asdict(found) | {"artifact": found.artifact and str(found.artifact)}
    give("\n".join(lines), document, as_json=json)
