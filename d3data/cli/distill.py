"""Commands that make artifacts: recipes, init, distill, status."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from shlex import quote, split
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from d3data.cli import completion
from d3data.cli.options import Columns, Data, Device, Json, Splits, White, named_splits
from d3data.cli.output import give, say
from d3data.cli.progress import Display
from d3data.utils.atomic import write_bytes
from d3data.utils.paths import as_name
from d3data.utils.text import counted, duration, some, table

if TYPE_CHECKING:
    from d3data.distill.plan import Plan
    from d3data.images.scan import ImageScan

recipes: typer.Typer = typer.Typer(
    help="The recipes that come with d3data.", invoke_without_command=True
)


@recipes.callback()
def list_recipes(context: typer.Context, json: Json = False) -> None:
    """List the recipes that come with d3data."""
    from d3data.distill import list_recipes

    if context.invoked_subcommand is None:
        names = list_recipes()
        give("\n".join(names), names, as_json=json)


@recipes.command()
def show(
    name: Annotated[
        str,
        typer.Argument(help="A name of `d3data recipes`.", autocompletion=completion.recipes),
    ],
) -> None:
    """Print a recipe: TOML, to be redirected into a file and changed."""
    from d3data.distill.recipe import recipe_text

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
    name: Annotated[
        str | None, typer.Option(help="Of the images and the set; default: that of the folder.")
    ] = None,
    columns: Columns = None,
    split: Splits = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="How many classes there must be, such as 1.")
    ] = None,
    white: White = None,
) -> None:
    """Look at real images, and write a recipe for them."""
    from d3data.distill.budget import parse_size, suggest
    from d3data.images.scan import scan_images

    if out.suffix != ".toml":
        raise typer.BadParameter(f"{out}: the path to a recipe must end in .toml")
    if out.exists():
        raise typer.BadParameter(f"{out} exists: give another --out, or remove it")
    options: dict[str, Any] = {"columns": columns, "classes": classes, "white": white}
    options |= {"name": name, "splits": named_splits(split or [])}
    size, images = parse_size(budget), scan_images(place, **options)
    say(describe(images))
    recipe = suggest(images, size=size)
    command = f"d3data distill {quote(str(out))} --data {quote(place)}"
    made = f"d3data init {quote(place)} --budget {quote(budget)}{_spelled(options, split or [])}"
    header = "".join(f"# {line}\n" for line in f"Made by {made}\n{command}".splitlines())
    write_bytes(out, (f"{header}\n{recipe.to_toml()}").encode())
    say(
        f"images of {recipe.task.size} px, {recipe.items_per_class} priors a class and one "
        f"decoder; now: {command}"
    )
    typer.echo(str(out))


def _spelled(options: dict[str, Any], split: list[str]) -> str:
    """The options of `init` that were given, as they are written."""
    given = [(key, value) for key, value in options.items() if key != "splits" and value]
    words = [
        word
        for key, value in [*given, *(("split", text) for text in split)]
        for word in (f"--{key}", *(value if isinstance(value, tuple) else [value]))
    ]
    return "".join(f" {quote(str(word))}" for word in words)


def describe(images: "ImageScan") -> str:
    """What a place with images holds, in lines."""
    sizes = ", ".join(f"{width}x{height} ({count})" for width, height, count in images.sizes[:4])
    modes = ", ".join(f"{mode} ({count})" for mode, count in images.modes[:4])
    rule = images.spec
    lines = [
        f"{images.place}: {counted(images.total, 'image')} of "
        f"{counted(len(images.classes), 'class', 'classes')}, {images.checked:,} looked at",
        *(_counts(split, each, images.classes) for split, each in images.counts.items() if each),
        *images.notes,
        f"sizes: {sizes}{' ...' if len(images.sizes) > 4 else ''}",
        f"modes: {modes}",
        f"rule: {rule.channels} x {rule.size} x {rule.size}, {rule.fit}"
        + (f", white is {rule.white:.6g}" if rule.white else ""),
        *(f"problem: {problem}" for problem in images.problems),
    ]
    return "\n".join(lines)


def _counts(split: str, counts: Sequence[int], classes: Sequence[str]) -> str:
    each = (f"{name} {count}" for name, count in zip(classes, counts, strict=True))
    span = f"{min(counts)} to {max(counts)} a class" if len(set(counts)) > 1 else "evenly"
    return f"{split}: {counted(sum(counts), 'image')}, {span}: {some(each)}"


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
    executor: Annotated[
        Literal["processes", "inline"], typer.Option(help="Where the jobs run.")
    ] = "processes",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Jobs at a time; default: one a core or accelerator.")
    ] = None,
    launcher: Annotated[
        str,
        typer.Option(
            help="A command that starts each worker on a machine of its own, such as "
            "'srun -n1 --gpus=1' or 'ssh node{worker}'."
        ),
    ] = "",
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
    begun, start = split(launcher), None if from_ is None else resolve.resolve(from_).read()
    if dry_run:
        resources = find_resources(
            device, workers, inline=executor == "inline", remote=bool(begun)
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
        _forecast(plan, device, gpu, as_json=json)
        return
    if gpu is not None:
        raise typer.BadParameter("--gpu is for --dry-run; --device says where to compute")
    stopped = f"the same command resumes {folder} from its last checkpoint"
    with Display(stopped) as display:
        made = distill.run(
            chosen,
            out=folder,
            data=data,
            executor=executor,
            workers=workers,
            launcher=begun,
            device=device,
            experts=experts,
            start=start,
            progress=display.show,
        )
    where, more = quote(as_name(made)), f" --data {quote(data)}" if data else ""
    tested = chosen.task.name in PRESETS or chosen.task.load(data).test is not None
    own = "" if tested else " --split validation"
    say(f"next: d3data preview {where}; d3data evaluate {where}{more}{own} --dry-run")
    give(as_name(made), {"artifact": str(made)}, as_json=json)


def _forecast(plan: "Plan", device: str, gpu: str | None, *, as_json: bool) -> None:
    from d3data.distill.forecast import forecast, gpu_speed

    if plan.imagined:
        say(
            f"the images of {plan.task.name} are not on this machine: planned with as many black "
            "images, and nothing was timed"
        )
    speed = None if gpu is None else gpu_speed(gpu)
    numbers, stages = plan.numbers(), forecast(plan, device)
    columns = ["stage", "jobs", "steps", "TFLOP", "GB memory of a job", "GB disk", "GB read"]
    rows = [
        [
            stage.name,
            stage.jobs,
            stage.steps,
            round(stage.flops / 1e12),
            f"{stage.memory / 1e9:.2f}",
            f"{stage.disk / 1e9:.3f}",
            f"{stage.traffic / 1e9:.1f}",
            "not timed" if stage.seconds is None else duration(stage.seconds),
            *([] if speed is None else [duration(stage.flops / speed)]),
        ]
        for stage in stages
    ]
    columns += [f"time on {device}", *([] if gpu is None else [f"{gpu} at 30 % of its peak"])]
    lines = [table(["what", "number"], list(numbers.items())), "", table(columns, rows)]
    seconds = [stage.seconds for stage in stages if stage.seconds is not None]
    if len(seconds) == len(stages):
        lines += ["", f"all jobs, one after the other: {duration(sum(seconds))}"]
    shown = [asdict(stage) for stage in stages]
    if speed is not None:
        shown = [stage | {"gpu_seconds": stage["flops"] / speed} for stage in shown]
    give("\n".join(lines), numbers | {"stages": shown}, as_json=as_json)


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
    state = "finished" if run.artifact else "not running; repeat `d3data distill` to resume it"
    if run.driver:
        state = f"running, as {run.driver}"
    lines = [
        f"{run.recipe} ({run.identity[:12]}): {run.done} of {run.total} jobs done; {state}",
        table(["subtask", "classes", "stage", "step", "loss", "took", "left"], rows),
        *([f"last failure: {run.last_failure}"] if run.last_failure else []),
        *([f"artifact: {as_name(run.artifact)}"] if run.artifact else []),
    ]
    document = asdict(run) | {"artifact": run.artifact and str(run.artifact)}
    give("\n".join(lines), document, as_json=json)
