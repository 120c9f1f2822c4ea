"""Commands that measure data sets: evaluate, report, compare, protocols."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from d3data.cli import completion
from d3data.cli.executors import Address, Carry, Gpus, OnCluster, SlurmOptions, executor_of
from d3data.cli.options import (
    Columns,
    Data,
    Device,
    Json,
    Splits,
    Task,
    Trained,
    White,
    named_splits,
)
from d3data.cli.output import (
    give,
    read_report,
    require_suffix,
    require_writable,
    say,
    say_notes,
)
from d3data.cli.progress import Display, stoppable, telling
from d3data.utils import atomic
from d3data.utils.text import table

if TYPE_CHECKING:
    from d3data.artifact.artifact import Artifact
    from d3data.evaluation import EvaluationPlan, Report
    from d3data.evaluation.record import Labels

Protocol = Annotated[
    str, typer.Option(help="How networks are trained.", autocompletion=completion.protocols)
]
Seeds = Annotated[
    int | None, typer.Option(min=1, help="How many networks; default: the protocol's.")
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile", help="Train through torch.compile: faster; a CPU needs a C++ compiler."
    ),
]
Precision = Annotated[
    Literal["float32", "tf32", "bfloat16"] | None,
    typer.Option(help="Of passes in training; default: tf32 on CUDA, float32 elsewhere."),
]
Html = Annotated[
    Path | None, typer.Option(help="Write a page with charts here, which needs no other file.")
]
Png = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write the charts here, as PNG.")]
QUICK = 10.0  # minutes
LEAST = 2  # networks on each set that is compared
STOPPED = "run the same command again to continue from here"


def evaluate(
    name: Trained,
    data: Data = None,
    task: Task = None,
    protocol: Protocol = "standard",
    nets: Annotated[
        str | None,
        typer.Option(help="Such as resnet18,vgg11/batch or torchvision:resnet50; or all."),
    ] = None,
    seeds: Seeds = None,
    baselines: Annotated[
        str,
        typer.Option(
            help="What to compare it with, such as random,means; or all, or none; fair: random "
            "and compressed real images of as many bytes."
        ),
    ] = "fair",
    baseline_seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Networks on each baseline; default: as many as on the set."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="hard, soft, or both: hard,soft; default: the set's own.")
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Also DD-Ranking's robust scores.")
    ] = False,
    columns: Columns = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPLIT",
            help="The real images to test on, validation or test; default: test, if there are "
            "any. Or ROLE=NAME: which folder, files or split of images that are no distilled "
            "set, or else of --data, is "
            "train, validation or test. Repeat it.",
        ),
    ] = None,
    white: White = None,
    device: Device = "cpu",
    compile: Compile = False,
    precision: Precision = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Train fewer networks, then for fewer steps, to be done in about so many; "
            "default: 10 under the protocol quick, unless --seeds are given.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that train networks; GPUs are dealt out to them.")
    ] = 1,
    executor: OnCluster = "processes",
    address: Address = None,
    gpus: Gpus = 1.0,
    carry: Carry = False,
    slurm: SlurmOptions = None,
    out: Annotated[Path | None, typer.Option(help="Write the report here, as JSON.")] = None,
    html: Html = None,
    png: Png = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how long it will take here.")
    ] = False,
    json: Json = False,
) -> None:
    """Train networks on a data set, and test them on real images.

    If interrupted, run it again to continue.
    """
    from d3data.data.dataset import DistilledDataset
    from d3data.evaluation import EvaluationOptions, plan
    from d3data.evaluation.shares import deal

    _require_places(html, png, out)
    tested = [text for text in split or [] if "=" not in text]
    if len(tested) > 1 or not {*tested} <= {"test", "validation"}:
        raise typer.BadParameter("write --split test, --split validation or --split train=NAME")
    place = executor_of(executor, None, address, gpus, carry, slurm)
    usual = minutes is None and seeds is None and isinstance(place, str)
    options = EvaluationOptions(
        data=data,
        columns=columns,
        splits=named_splits([text for text in split or [] if "=" in text]),
        white=white,
        protocol=protocol,
        nets=nets if nets in (None, "all") else nets.split(","),
        labels=None if labels is None else [*map(_kind, labels.split(","))],
        seeds=None if seeds is None else range(seeds),
        baselines=baselines if baselines in ("all", "none", "fair") else baselines.split(","),
        baseline_seeds=None if baseline_seeds is None else range(baseline_seeds),
        scores=scores,
        split="validation" if "validation" in tested else "test" if tested else None,
        device=device,
        compile=compile,
        precision=precision,
        workers=workers,
        executor=place if not isinstance(place, str) else None,
        minutes=QUICK if usual and protocol == "quick" else minutes,
    )
    planned = plan(name, task, options)
    say_notes(planned.data)
    if not tested and planned.split == "validation":
        say("there are no test images: networks are tested on validation images")
    if dry_run:
        guess = planned.estimate()
        give(guess.table(), guess.dump(), as_json=json)
        if minutes is None and guess.seconds > 60 * QUICK:
            say(f"--minutes {QUICK:g} has it done in so many, with fewer networks or steps")
        return
    rows = "; --dry-run shows each row"
    with telling(STOPPED):
        report = run_plan(planned, partial(deal, name, task, options), more=rows)
        if out is not None:
            atomic.write_json(out, report.dump())
        of = planned.data.artifact if isinstance(planned.data, DistilledDataset) else None
        _draw([report], of, html=html, png=png)
        planned.clear()
    give(f"{report.table()}\n\n{report.costs()}", report.dump(), as_json=json)


def report(
    reports: Annotated[
        list[Path],
        typer.Argument(
            help="What `evaluate --out` wrote; the first is shown in full, others join its charts."
        ),
    ],
    html: Html = None,
    png: Png = None,
) -> None:
    """Draw charts of reports: of several sets, or of one that was drawn from for longer."""
    if html is None and png is None:
        raise typer.BadParameter("say where: --html report.html, --png FOLDER, or both")
    _require_places(html, png)
    _draw([*map(read_report, reports)], None, html=html, png=png)


def compare(
    names: Annotated[
        list[str],
        typer.Argument(help="Reports that `evaluate --out` wrote, or data sets to evaluate."),
    ],
    data: Data = None,
    task: Task = None,
    columns: Columns = None,
    split: Splits = None,
    white: White = None,
    protocol: Protocol = "standard",
    seeds: Seeds = None,
    device: Device = "cpu",
    compile: Compile = False,
    precision: Precision = None,
    json: Json = False,
) -> None:
    """Say which of some data sets is better, or that the difference is within noise."""
    from d3data.evaluation import EvaluationOptions, Report, plan
    from d3data.evaluation.comparison import Comparability, require_comparable
    from d3data.evaluation.comparison import compare as compared

    options = EvaluationOptions(
        data=data,
        columns=columns,
        splits=named_splits(split or []),
        white=white,
        protocol=protocol,
        seeds=None if seeds is None else range(seeds),
        baselines=(),
        device=device,
        compile=compile,
        precision=precision,
    )
    if len(names) < 2:
        raise typer.BadParameter("one set alone cannot be compared: name at least two")
    known = [
        read_report(Path(name)) if name.endswith(".json") else plan(name, task, options)
        for name in names
    ]
    shared = [
        Comparability.of(one) if isinstance(one, Report) else one.comparability for one in known
    ]
    require_comparable([*zip(names, shared, strict=True)])
    for one in known:
        if not isinstance(one, Report):
            say_notes(one.data)
    with telling(STOPPED):
        comparison = compared(
            [
                one if isinstance(one, Report) else run_plan(one, of=f"{name}: ", more=_less(one))
                for name, one in zip(names, known, strict=True)
            ]
        )
    for one in known:
        if not isinstance(one, Report):
            one.clear()
    headings = ["data set", "values", "bytes", "accuracy %"]
    rows = [[name, *(row.cells()[one] for one in headings[1:])] for name, row in comparison.rows]
    lines = [table(headings, rows), "", *(one.line() for one in comparison.differences)]
    give("\n".join(lines), comparison.dump(), as_json=json)


def protocols(json: Json = False) -> None:
    """List the protocols that `evaluate` knows."""
    from d3data.evaluation.networks import label
    from d3data.evaluation.protocols import protocols as known

    headings = ["name", "network", "networks", "length", "batch", "rates", "augmentation"]
    rows = [
        [
            f"{one.name} v{one.version}",
            label(one.network),
            str(one.networks),
            f"{one.steps:,} steps" if one.steps else f"{one.epochs:,} epochs",
            str(one.batch),
            ", ".join(f"{rate:g}" for rate in one.learning_rates),
            one.augment,
        ]
        for one in known.values()
    ]
    give(table(headings, rows), {n: one.dump() for n, one in known.items()}, as_json=json)


def run_plan(
    planned: "EvaluationPlan",
    deal: Callable[..., None] | None = None,
    *,
    of: str = "",
    more: str = "",
) -> "Report":
    """Say how long it takes, and run it; after a first Ctrl-C all is saved that can be.

    `of` is said before the time, `more` after it.
    """
    with telling(STOPPED):
        guess = planned.estimate()
        say(f"{of}{guess.summary()} on this machine{more}")
        with Display(STOPPED, total=guess.steps) as display, stoppable(display.show) as step:
            if deal is not None:
                deal(planned, step)
            return planned.run(progress=step)


def _less(planned: "EvaluationPlan") -> str:
    """How `compare` takes less time; nothing where it is as short as can be."""
    short = planned.setup.protocol.name == "quick" and len(planned.seeds) <= LEAST
    return "" if short else f"; --protocol quick --seeds {LEAST} is shorter"


def _require_places(html: Path | None, png: Path | None, out: Path | None = None) -> None:
    """Refuse what cannot be written, before anything is trained."""
    for path in filter(None, (html, png, out)):
        require_writable(path)
    require_suffix(html, ".html")
    if out is not None and out.is_dir():
        raise typer.BadParameter(f"{out} is a folder: name a file for --out, such as {out}.json")
    if png is not None and png.exists() and not png.is_dir():
        raise typer.BadParameter(f"{png} exists and is not a folder: choose another one for --png")


def _draw(
    reports: list["Report"], of: "Artifact | None", *, html: Path | None, png: Path | None
) -> None:
    from d3data.cards import report_page, report_pictures

    made = {} if html is None else {html: report_page(reports, of).encode()}
    if png is not None:
        pictures = report_pictures(reports, of)
        made |= {png / name: content for name, content in pictures.items()}
    for path, content in made.items():
        atomic.write_bytes(path, content)
        say(str(path))


def _kind(text: str) -> "Labels":
    if text not in ("hard", "soft"):
        raise typer.BadParameter(f"{text!r}: write hard, soft or hard,soft", param_hint="--labels")
    return "hard" if text == "hard" else "soft"
