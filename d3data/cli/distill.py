"""Commands that make artifacts: recipes, distill, pretrain-generator, status."""

import contextlib
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from d3data.cli import completion
from d3data.cli.executors import Address, Carry, Gpus, SlurmOptions, Where, executor_of
from d3data.cli.options import Data, Device, Json
from d3data.cli.output import give, read_report, say
from d3data.cli.progress import Display, stoppable
from d3data.errors import D3DataError
from d3data.utils.atomic import write_json
from d3data.utils.paths import as_name
from d3data.utils.text import counted, duration, table

if TYPE_CHECKING:
    from d3data.distill.plan import Plan
    from d3data.evaluation import Report
    from d3data.images.tasks import Task
    from d3data.utils.device import Resources

LONG = 3.0  # times the minutes of a verdict, from which there is none

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
    from d3data.evaluation.verdict import verdict as sentences
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
        _forecast(plan, resources, gpu, as_json=json)
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
    judged = None
    if real is not None and (judged := _judged(made, real, device, verdict)) is not None:
        say(f"verdict: {sentences(judged)}")
        report = quote(as_name(_report(made)))
        say(f"a page of it: d3data report {report} --html verdict.html")
        say(f"a card with it: d3data card {where} --report {report} --out README.md")
    say(f"next: d3data preview {where}; d3data evaluate {where}{more}{own}")
    given = {"artifact": str(made), "verdict": judged and judged.dump()}
    give(as_name(made), given, as_json=json)


def _report(made: Path) -> Path:
    return made.parent / "verdict.json"


def _known(stored: Path) -> "Report | None":
    """The report in a file; None where there is none that can be read."""
    if not stored.is_file():
        return None
    with contextlib.suppress(D3DataError):
        return read_report(stored)
    return None


def _judged(made: Path, task: "Task", device: str, minutes: float) -> "Report | None":
    """A short evaluation of what a run has made, kept in its folder; None where it takes long."""
    from d3data import artifact
    from d3data.cli.evaluation import run_plan
    from d3data.evaluation import plan

    stored, split = _report(made), "test" if task.test is not None else "validation"
    known = _known(stored)
    if known is not None and (known.content_sha256, known.fingerprint, known.split) == (
        artifact.read(made).manifest.content_sha256,
        task.fingerprint,
        split,
    ):
        say(f"as {as_name(stored)} has it; d3data evaluate measures longer")
        return known
    say(
        f"{as_name(made)} is finished; evaluating it for about {duration(60 * minutes)} "
        "(--verdict 0: not); Ctrl-C stops that, and the same command goes on"
    )
    planned = plan(
        made, task, protocol="quick", baselines="fair", split=split, device=device, minutes=minutes
    )
    if (takes := planned.estimate().seconds) > LONG * 60 * minutes:
        say(f"no verdict, as it takes {duration(takes)}: give more, --verdict {takes / 60:.0f}")
        return None
    report = run_plan(planned)
    write_json(stored, report.dump())
    planned.clear()
    return report


def _forecast(plan: "Plan", resources: "Resources", gpu: str | None, *, as_json: bool) -> None:
    from d3data.distill.forecast import forecast, gpu_speed, start_seconds

    if plan.imagined:
        say(
            f"the images of {plan.task.name} are not on this machine: planned with as many black "
            "images, and nothing was timed"
        )
    else:
        say("timing a few steps of each stage on this machine")
    speed = None if gpu is None else gpu_speed(gpu)
    device, workers = resources.device, resources.workers
    numbers, stages = plan.numbers(), forecast(plan, device, workers=workers)
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
            "not timed" if stage.wall is None else duration(stage.wall),
            *([] if speed is None else [duration(stage.flops / speed)]),
        ]
        for stage in stages
    ]
    columns += [f"time on {device}", *([] if gpu is None else [f"{gpu} at 30 % of its peak"])]
    lines = [table(["what", "number"], list(numbers.items())), "", table(columns, rows)]
    seconds = [stage.wall for stage in stages if stage.wall is not None]
    shown = [asdict(stage) for stage in stages]
    if len(seconds) == len(stages):
        starts = start_seconds() * sum(map(bool, plan.stages.values()))
        numbers["seconds"] = starts + sum(seconds)
        jobs = f", {counted(workers, 'job')} at a time" if workers > 1 else ""
        lines += ["", f"all: about {duration(numbers['seconds'])} on this machine{jobs}"]
    if speed is not None:
        shown = [stage | {"gpu_seconds": stage["flops"] / speed} for stage in shown]
    give("\n".join(lines), numbers | {"stages": shown}, as_json=as_json)


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
