"""The verdict at the end of a run: a short evaluation of what it has made."""

import contextlib
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Literal

from d3data.cli.evaluation import run_plan
from d3data.cli.output import read_report, say
from d3data.errors import D3DataError
from d3data.utils.atomic import write_json
from d3data.utils.paths import as_name
from d3data.utils.text import duration

if TYPE_CHECKING:
    from d3data.evaluation import Report
    from d3data.images.tasks import Task

LONG = 3.0  # times its minutes, from which there is none


def judged(made: Path, task: "Task", device: str, minutes: float) -> "Report | None":
    """Evaluate what a run has made, and say what it is worth; None where that takes long."""
    from d3data.evaluation.verdict import verdict

    stored = made.parent / "verdict.json"
    report = _known(stored, made, task) or _evaluated(stored, made, task, device, minutes)
    if report is not None:
        where, page = quote(as_name(made)), quote(as_name(stored))
        say(f"verdict: {verdict(report)}")
        say(f"a page of it: d3data report {page} --html verdict.html")
        card = quote(as_name(made.parent / "README.md"))
        say(f"a card with it: d3data card {where} --report {page} --out {card}")
    return report


def _known(stored: Path, made: Path, task: "Task") -> "Report | None":
    """The report in a file; None where there is none of this set and these images."""
    from d3data import artifact

    if not stored.is_file():
        return None
    with contextlib.suppress(D3DataError):
        known = read_report(stored)
        of = known.content_sha256, known.fingerprint, known.split
        content = artifact.read(made).manifest.content_sha256
        if of == (content, task.fingerprint, _split(task)):
            say(f"as {as_name(stored)} has it; d3data evaluate measures longer")
            return known
    return None


def _evaluated(
    stored: Path, made: Path, task: "Task", device: str, minutes: float
) -> "Report | None":
    from d3data.evaluation import plan

    say(
        f"{as_name(made)} is finished; evaluating it (--verdict 0: not); Ctrl-C stops that, "
        "and the same command goes on"
    )
    planned = plan(
        made,
        task,
        protocol="quick",
        baselines="fair",
        split=_split(task),
        device=device,
        minutes=minutes,
    )
    if (takes := planned.estimate().seconds) > LONG * 60 * minutes:
        say(f"no verdict, as it takes {duration(takes)}: give more, --verdict {takes / 60:.0f}")
        return None
    report = run_plan(planned)
    write_json(stored, report.dump())
    planned.clear()
    return report


def _split(task: "Task") -> Literal["test", "validation"]:
    return "test" if task.test is not None else "validation"
