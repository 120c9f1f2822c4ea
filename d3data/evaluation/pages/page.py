"""An evaluation as one HTML page, and as pictures: the numbers are those of its reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from d3data.artifact.artifact import Artifact
from d3data.data import preview
from d3data.data.gallery import Draws, Gallery
from d3data.data.preview import EXACT, address
from d3data.errors import ArtifactError
from d3data.evaluation.pages import charts, raster
from d3data.evaluation.pages.charts import Axis, Plot, Series
from d3data.evaluation.pages.diversity import Diversity, diversity
from d3data.evaluation.pages.readings import Rate, Readings
from d3data.evaluation.report import COSTS, Report, measured
from d3data.evaluation.rows import HEADINGS, Row
from d3data.utils import templates
from d3data.utils.templates import GENERATOR, NARROW, WIDE
from d3data.utils.text import short, weight

BARS, ENDS = 30, 10  # classes up to which each has a bar; the worst and the best, where more
STEPS = Axis("steps", short)
SECONDS = Axis("seconds of training", short)
DRAWS = Axis("draws in an epoch, on a logarithmic axis", short, logarithmic=True)
IMAGES = Axis("images drawn in one training, on a logarithmic axis", short, logarithmic=True)
TIMES = Axis("seconds of one training", short)
RANKS = Axis("classes, from the worst to the best", short)


@dataclass(frozen=True)
class Chart:
    """Accuracy against something, the same on the page and as a picture."""

    name: str
    title: str
    series: list[Series]
    axis: Axis

    @property
    def plots(self) -> list[Plot]:
        """On desks and in hands."""
        return [charts.draw(self.series, self.axis, width=w, height=h) for w, h in (WIDE, NARROW)]

    @property
    def label(self) -> str:
        """What it shows, in words."""
        ends = (
            f"{one.name} {one.points[0][1]:.1f} %"
            + (f" to {one.points[-1][1]:.1f} %" if len(one.points) > 1 else "")
            for one in self.series
        )
        return f"{self.title}: {'; '.join(ends)}"


class Pictures:
    """All that is shown of some reports, and of the set of the first where it is at hand.

    Raises:
        DataError: the reports do not belong together.
        ArtifactError: the set is another one.
    """

    def __init__(self, reports: Report | Sequence[Report], artifact: Artifact | None) -> None:
        known = [reports] if isinstance(reports, Report) else list(reports)
        self.readings = Readings(known)
        self.report = self.readings.report
        self.gallery = None if artifact is None else _gallery(artifact, self.report)
        self.rates, self.confusion = self.readings.rates(), self.readings.confusion()
        self.transfer = self.readings.transfer()

    @cached_property
    def charts(self) -> dict[str, Chart]:
        """Those that have something to show, by their names."""
        seen = self.readings
        found = [
            Chart("accuracy-bytes", "Accuracy against bytes", seen.sizes(), charts.BYTES),
            Chart("classes", "Accuracy of all classes", self._ranks(), RANKS),
            Chart("learning-steps", "Accuracy against steps", seen.learning("step"), STEPS),
            Chart("learning-seconds", "Accuracy against time", seen.learning("seconds"), SECONDS),
            Chart("longer-draws", "Accuracy against draws per epoch", seen.longer(_draws), DRAWS),
            Chart("longer-images", "Accuracy against draws", seen.longer(_images), IMAGES),
            Chart("longer-seconds", "Accuracy against seconds", seen.longer(_seconds), TIMES),
        ]
        return {chart.name: chart for chart in found if chart.series}

    @property
    def bars(self) -> list[Rate]:
        """The classes that have a bar: all, or the worst and the best."""
        if len(self.rates) <= BARS:
            return self.rates
        ranked = sorted(self.rates, key=lambda rate: rate.own)
        return [*ranked[:ENDS], *ranked[-ENDS:]]

    @cached_property
    def diversity(self) -> list[Diversity]:
        """Of the priors of the set, where it is at hand and has some."""
        return diversity(self.gallery) if self.gallery else []

    def _ranks(self) -> list[Series]:
        """The accuracies of many classes in ascending order."""
        if len(self.rates) <= BARS:
            return []
        results = [self.readings.first[0], *filter(None, [self.readings.rival])]
        columns = [
            [r.own for r in self.rates],
            [r.rival for r in self.rates if r.rival is not None],
        ]
        return [
            Series(
                one.name,
                tuple((float(n), 100 * rate, 0.0) for n, rate in enumerate(sorted(rates), 1)),
                number,
                one.ours,
                marked=False,
            )
            for number, (one, rates) in enumerate(zip(results, columns, strict=False))
        ]


def report_page(report: Report | Sequence[Report], artifact: Artifact | None = None) -> str:
    """The page of an evaluation: the same reports give the same page.

    Args:
        report: one, or several of a task: the first is shown in full; others of its protocol
            join the charts of accuracy against bytes, others of its set tell what longer training
            buys.
        artifact: the set of the first, to show how much the draws of a prior differ.

    Raises:
        DataError: the reports do not belong together.
        ArtifactError: the artifact is another set.
    """
    shown, css = Pictures(report, artifact), templates.read("evaluation/pages/page.css")
    css += templates.read("evaluation/pages/report.css")
    first = shown.report
    return templates.html(
        "evaluation/pages/report.html.jinja",
        shown=shown,
        readings=shown.readings,
        report=first,
        generator=templates.trusted(GENERATOR),
        policy=templates.policy(css),
        css=templates.trusted(css),
        figures=_figures(shown),
        headings=_headings(HEADINGS),
        notes=dict.fromkeys((row.name, row.note) for row in first.rows if row.note),
        scores=[line.rsplit("  ", 1) for line in first.scores.lines()] if first.scores else [],
        costs=_costs(shown),
        measured=measured(first),
        strips=[(one, [address(image) for image in one.draws]) for one in shown.diversity],
        pixelated=shown.gallery is not None and shown.gallery.image.size < EXACT,
        whitened=shown.gallery is not None and shown.gallery.image.whitening is not None,
    )


def report_pictures(
    report: Report | Sequence[Report], artifact: Artifact | None = None
) -> dict[str, bytes]:
    """The charts of the page as PNG files by their names; arguments and errors are its own."""
    shown = Pictures(report, artifact)
    first, seen = shown.report, shown.readings
    of = f"{first.data} on {first.task}"
    made = {
        name: raster.chart(chart.plots[0], chart.series, f"{chart.title}: {of}")
        for name, chart in shown.charts.items()
    }
    rival = None if seen.rival is None else seen.rival.name
    heading = f"Accuracy of {'each class' if shown.bars == shown.rates else 'some classes'}: {of}"
    made["per-class"] = raster.bars(shown.bars, heading, seen.first[0].name, rival)
    if shown.confusion:
        heading = f"% of each class's images: {of}"
        made["confusion"] = raster.grid(shown.confusion, heading, "class", "taken for")
    if shown.transfer:
        heading = f"Accuracy of other networks, %: {of}"
        made["transfer"] = raster.grid(shown.transfer, heading, "network", "normalisation")
    if shown.diversity:
        images = torch.stack([one.draws for one in shown.diversity])
        labels = tuple(one.label for one in shown.diversity)
        nobody = torch.zeros(images.shape[:2], dtype=torch.int64).numpy()
        made["diversity"] = preview.picture(Draws(images, labels, nobody, nobody), first.classes)
    return {f"{name}.png": content for name, content in made.items()}


def _costs(shown: Pictures) -> list[Sequence[str]]:
    """The table of costs and its headings; its last column where anything stands in it."""
    named = zip(shown.readings.results, shown.report.rows, strict=False)
    rows = [(one.name, *shown.report.cost(row)[1:]) for one, row in named]
    empty = all(cells[-1] == "-" for cells in rows)
    found: list[Sequence[str]] = [_headings(COSTS), *rows]
    return [cells[:-1] for cells in found] if empty else found


def _headings(words: Sequence[str]) -> list[str]:
    return [word[0].upper() + word[1:] for word in words]


def _figures(shown: Pictures) -> list[tuple[str, str]]:
    """The numbers at the head of the page, and what they are."""
    report, own, rival = shown.report, shown.readings.first[0].row, shown.readings.rival
    found = [(f"{100 * own.mean:.1f} %", f"of {report.tests:,} {report.split} images recognised")]
    if rival is not None:
        lead = f"{100 * (own.mean - rival.row.mean):+.1f}"
        size = f" ({weight(rival.row.bytes)})" if rival.row.bytes is not None else ""
        found.append((lead.replace("-", "\u2212"), f"points beside {rival.name}{size}"))
    if own.bytes is not None:
        found.append((weight(own.bytes), "to train on"))
    return found


def _gallery(artifact: Artifact, report: Report) -> Gallery:
    """The images of the set that a report is of."""
    of, has = report.content_sha256, artifact.manifest.content_sha256
    if of != has:
        raise ArtifactError(
            f"the report is of content {of}, and this set has {has}: evaluate it again"
        )
    return Gallery(artifact)


def _draws(row: Row) -> float:
    return row.draws


def _images(row: Row) -> float:
    return float(row.trials[0].images)


def _seconds(row: Row) -> float:
    return row.seconds / len(row.trials)
