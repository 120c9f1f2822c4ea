"""The results of a study: a record that is kept as JSON, and the table that is made of it."""

import statistics
from pathlib import Path
from typing import ClassVar

from d3data.errors import FormatError
from d3data.evaluation.report import Report
from d3data.evaluation.scores import Scores
from d3data.utils import canonical_json
from d3data.utils.schema import Extended, Frozen
from d3data.utils.text import duration


class Result(Extended):
    """One row of a report, of the set itself or of a baseline, in a study.

    Attributes:
        entry: the entry of the study.
        row: `distilled`, or the baseline's name.
        protocol: with its version.
        network: what was trained.
        labels: hard, soft or targets.
        values: stored ones, as papers count them.
        bytes: stored ones.
        accuracies: of each network, in [0, 1].
        distill_seconds: that making the set took, without experts; None where it was there.
        train_seconds: that training one network took.
        device: what trained the networks.
        date: YYYY-MM-DD.
        scores: DD-Ranking's, of a set whose study has them.
    """

    entry: str
    row: str
    protocol: str
    network: str
    labels: str
    values: int | None
    bytes: int | None
    accuracies: tuple[float, ...]
    distill_seconds: float | None
    train_seconds: float
    device: str
    date: str
    scores: Scores | None = None

    later: ClassVar[frozenset[str]] = frozenset({"scores"})

    def cells(self) -> list[str]:
        percent = [100 * one for one in self.accuracies]
        spread = f" ± {statistics.stdev(percent):.1f}" if len(percent) > 1 else ""
        made = "" if self.distill_seconds is None else duration(self.distill_seconds)
        return [
            self.entry if self.row == "distilled" else f"{self.row}, beside {self.entry}",
            self.protocol,
            self.network,
            self.labels,
            "" if self.values is None else f"{self.values:,}",
            "" if self.bytes is None else f"{self.bytes:,}",
            f"{statistics.fmean(percent):.1f}{spread} ({len(percent)})",
            made,
            duration(self.train_seconds),
        ]

    def robust(self) -> list[str]:
        """The cells under LRS and ARS."""
        if self.scores is None:
            return ["", ""]
        robust = self.scores.label_robust, self.scores.augmentation_robust
        return [f"{score:.3f}" for score in robust]


HEADINGS = (
    "set", "protocol", "network", "labels", "values", "bytes", "accuracy, % (networks)",
    "distilled in", "a network in",
)  # fmt: skip
SCORES = ("LRS", "ARS")


class Page(Frozen):
    """All results of a study; `identity` is that of its settings."""

    study: str
    identity: str
    results: tuple[Result, ...]


def results(entry: str, report: Report, distill_seconds: float | None) -> list[Result]:
    """The rows of a report."""
    return [
        Result(
            entry=entry,
            row=row.name,
            protocol=f"{report.protocol.name} v{report.protocol.version}",
            network=row.network,
            labels=row.labels,
            values=row.values,
            bytes=row.bytes,
            accuracies=tuple(trial.accuracy for trial in row.trials),
            distill_seconds=distill_seconds if row.name == "distilled" else None,
            train_seconds=row.seconds / len(row.trials),
            device=report.device,
            date=report.date,
            scores=None if number else report.scores,
        )
        for number, row in enumerate(report.rows)
    ]


def table(page: Page) -> str:
    """The results as a Markdown table, in the order of the study; a rival of several sets once."""
    first = dict[object, Result]()
    for one in page.results:
        first.setdefault(_told(one), one)
    rows = list(first.values())
    lines = [[*HEADINGS], *(one.cells() for one in rows)]
    if any(one.scores for one in rows):
        robust = [[*SCORES], *(one.robust() for one in rows)]
        lines = [line + more for line, more in zip(lines, robust, strict=True)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _told(one: Result) -> tuple[object, ...]:
    """What makes a row another one: of rivals not the entry that they stand beside."""
    entry = one.entry if one.row == "distilled" else ""
    return entry, one.row, one.protocol, one.network, one.labels, one.bytes, one.accuracies


def read_page(path: str | Path) -> Page:
    """The results in a file that `run` wrote; FormatError if they are none."""
    path = Path(path)
    try:
        values = canonical_json.decode(path.read_bytes(), where=str(path))
    except OSError as failure:
        raise FormatError(f"{path} cannot be read: {failure.strerror}") from None
    return Page.parse(values, where=str(path), error=FormatError)
