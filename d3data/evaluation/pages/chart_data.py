"""What the page of an evaluation shows: numbers and names, read from its reports.

Legend: K classes. Accuracies are shares in [0, 1], in charts per cent.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.evaluation.pages.charts import BYTES, Axis, Chart, Point, Series, point
from d3data.evaluation.pages.tables import DARKEST, Cell, Grid, Rate
from d3data.evaluation.record import Row
from d3data.evaluation.report import Report, called
from d3data.utils.text import short

NORMS = ("none", "instance", "batch", "group", "layer")
RIVALS = ("compressed", "random-bytes", "random")  # the fairest first
RANDOM = ("random", "random-bytes", "real")  # the same baseline in several sizes
DEFAULT_NORM = "its own"  # of a network that was named without one
CONFUSED = 8  # of the largest confusions, in words
BARS, ENDS = 30, 10  # classes up to which each has a bar; the worst and the best, where more

RANKS = Axis("classes, from the worst to the best", short)
STEPS = Axis("steps", short)
TIME = Axis("seconds of training", short)
SECONDS = Axis("seconds of one training", short)
DRAWS = Axis("draws in an epoch, on a logarithmic axis", short, logarithmic=True)
IMAGES = Axis("images drawn in one training, on a logarithmic axis", short, logarithmic=True)


@dataclass(frozen=True)
class Result:
    """A row of a report, its name on this page, and the style of its marks."""

    name: str
    style: int
    row: Row

    @property
    def ours(self) -> bool:
        return self.row.name == "distilled"

    def series(self, points: Iterable[Point], *, marked: bool = True) -> Series:
        return Series(self.name, tuple(points), self.style, self.ours, marked)


class ChartData:
    """Reports of one task; the first is the one that is shown in full.

    Others have its protocol, or its content under a protocol that differs in length alone.
    """

    def __init__(self, reports: Sequence[Report]) -> None:
        if not reports:
            raise DataError("there is nothing to show: give at least one report")
        self.report, self.reports = reports[0], reports
        for number, report in enumerate(reports, 1):
            self._require_related(number, report)
        self.same_protocol = [r for r in reports if r.protocol == self.report.protocol]
        self.network = self.report.rows[0].network

    @cached_property
    def charts(self) -> dict[str, Chart]:
        draws = self.longer(lambda row: row.draws)
        images = self.longer(lambda row: row.trials[0].images)
        seconds = self.longer(lambda row: row.seconds / len(row.trials))
        charts = (
            Chart("accuracy-bytes", "Accuracy against bytes", self.sizes(), BYTES),
            Chart("classes", "Accuracy of all classes", self.ranks(), RANKS),
            Chart("learning-steps", "Accuracy against steps", self.learning("step"), STEPS),
            Chart("learning-seconds", "Accuracy against time", self.learning("seconds"), TIME),
            Chart("longer-draws", "Accuracy against draws per epoch", draws, DRAWS),
            Chart("longer-images", "Accuracy against draws", images, IMAGES),
            Chart("longer-seconds", "Accuracy against seconds", seconds, SECONDS),
        )
        return {chart.name: chart for chart in charts if chart.series}

    @cached_property
    def results(self) -> list[Result]:
        """All rows of the reports that have the first one's protocol."""
        rows = [(self._name(r, row), row) for r in self.same_protocol for row in r.rows]
        styles = {name: style for style, name in enumerate(dict.fromkeys(n for n, _ in rows))}
        return [Result(name, styles[name], row) for name, row in rows]

    @property
    def first(self) -> list[Result]:
        """The rows of the first report and of its first network."""
        own = self.results[: len(self.report.rows)]
        return [result for result in own if result.row.network == self.network]

    @property
    def rival(self) -> Result | None:
        """The baseline that the set is compared with: of equal bytes, if there is one."""
        baselines = {result.row.name: result for result in self.first if not result.ours}
        ranked = (baselines[name] for name in RIVALS if name in baselines)
        return next(ranked, next(iter(baselines.values()), None))

    def sizes(self) -> list[Series]:
        """Accuracy against bytes; a baseline of several sizes is a curve.

        Random real images are one baseline, whatever their number is equal to, up to all.
        """
        groups = defaultdict[str, dict[Point, Result]](dict)
        for result in self.results:
            if result.row.network == self.network and result.row.bytes:
                name = "random" if result.row.name in RANDOM else result.name
                groups[name].setdefault(point(result.row.bytes, result.row), result)
        curves = (
            dict(sorted(group.items(), key=lambda pair: pair[0][0])) for group in groups.values()
        )
        return [next(iter(curve.values())).series(curve) for curve in curves]

    def ranks(self) -> list[Series]:
        """The accuracies of the classes in ascending order, where they are many."""
        if len(self.rates) <= BARS:
            return []
        results = [self.first[0], *([self.rival] if self.rival else [])]
        columns = ([rate for rate in _rates(one.row) if rate is not None] for one in results)
        curves = (((n, 100 * r, 0.0) for n, r in enumerate(sorted(c), 1)) for c in columns)
        return [r.series(curve, marked=False) for r, curve in zip(results, curves, strict=True)]

    def learning(self, against: str) -> list[Series]:
        """Accuracy on validation images against `step` or `seconds`, the mean of networks."""
        series = []
        for result in self.first:
            moments = list(zip(*(trial.curve for trial in result.row.trials), strict=False))
            x = [statistics.fmean(getattr(p, against) for p in moment) for moment in moments]
            y = [100 * statistics.fmean(p.accuracy for p in moment) for moment in moments]
            series += [result.series((*xy, 0.0) for xy in zip(x, y, strict=True))] if x else []
        return series

    def longer(self, against: Callable[[Row], float]) -> list[Series]:
        """Accuracy against what one training took, where reports of the same set differ in it.

        Their protocols differ in length, or in draws per epoch, alone.
        """
        points = defaultdict[str, set[Point]](set)
        for report in self.reports:
            for row in report.rows if _same_set(report, self.report) else ():
                if row.network == self.network and against(row) > 0:
                    points[self._name(report, row, own="this set")].add(point(against(row), row))
        curves = {n: sorted(at) for n, at in points.items() if len({x for x, *_ in at}) > 1}
        return [
            Series(name, tuple(curve), style, name.startswith("this set"))
            for style, (name, curve) in enumerate(curves.items())
        ]

    @cached_property
    def rates(self) -> list[Rate]:
        """The accuracy on each class that has test images, in their order."""
        own = _rates(self.first[0].row)
        rival = _rates(self.rival.row) if self.rival else [None] * len(own)
        columns = zip(self.report.classes, own, rival, strict=True)
        return [Rate(name, mine, other) for name, mine, other in columns if mine is not None]

    @property
    def bars(self) -> list[Rate]:
        """The classes that have a bar: all, or the worst and the best."""
        if len(self.rates) <= BARS:
            return self.rates
        ranked = sorted(self.rates, key=lambda rate: rate.own)
        return [*ranked[:ENDS], *ranked[-ENDS:]]

    @cached_property
    def confusion(self) -> Grid | None:
        """Which class is taken for which, by the set's networks; None where not recorded."""
        if not self._shares.ndim:
            return None

        def cell(share: float) -> Cell:
            return Cell(f"{100 * share:.0f}" if share else "", _root_shade(share))

        cells = [[*map(cell, row)] for row in self._shares.tolist()]
        return Grid(self.report.classes, self.report.classes, cells)

    def confusions(self) -> list[tuple[float, str, str]]:
        """The largest: the share of a class's images, the class, and what they are taken for."""
        names = self.report.classes
        pairs = [
            (share, names[label], names[answer])
            for label, row in enumerate(self._shares)
            for answer, share in enumerate(row)
            if share and label != answer
        ]
        return sorted(pairs, key=lambda pair: -pair[0])[:CONFUSED]

    @cached_property
    def transfer(self) -> Grid | None:
        """Networks of other kinds, a family in each row and a norm in each column."""
        rows = self.report.rows
        ours = [r for r in rows if r.name == "distilled" and r.labels == rows[0].labels]
        if len(ours) < 2:
            return None
        by_kind = {_family_and_norm(row.network): row for row in ours}
        families = tuple(dict.fromkeys(family for family, _ in by_kind))
        norms = tuple(n for n in (DEFAULT_NORM, *NORMS) if n in {norm for _, norm in by_kind})
        low, high = min(row.mean for row in ours), max(row.mean for row in ours)
        random = {row.network: row.mean for row in rows if row.name == "random"}

        def cell(row: Row | None) -> Cell:
            if row is None:
                return Cell("-", 0)
            shade = round(1 + (row.mean - low) / (high - low or 1) * (DARKEST - 1))
            lead = 100 * (row.mean - random.get(row.network, math.nan))
            return Cell(f"{100 * row.mean:.1f}", shade, "" if math.isnan(lead) else f"{lead:+.1f}")

        cells = [[cell(by_kind.get((family, norm))) for norm in norms] for family in families]
        return Grid(families, norms, cells)

    @cached_property
    def _shares(self) -> NDArray[np.float64]:
        counts = [trial.confusion for trial in self.first[0].row.trials if trial.confusion]
        total = np.array(counts).sum(0)
        shares: NDArray[np.float64] = total / np.maximum(total.sum(-1, keepdims=True), 1)
        return shares

    def _name(self, report: Report, row: Row, own: str | None = None) -> str:
        name = own if own and row.name == "distilled" else called(row)
        sets = {_content(one): one.data for one in self.same_protocol}
        if row.name == "distilled" and len(sets) > 1 and own is None:
            twins = [*sets.values()].count(report.data)
            name = f"{report.data} ({_content(report)[:8]})" if twins > 1 else report.data
        kinds = {one.labels for one in report.rows if one.name == row.name}
        return f"{name}, {row.labels} labels" if len(kinds) > 1 else name

    def _require_related(self, number: int, report: Report) -> None:
        first = self.report
        related = report.protocol == first.protocol or _same_set(report, first)
        if (report.fingerprint, report.split) != (first.fingerprint, first.split) or not related:
            raise DataError(
                f"report {number} ({report.data} on {report.task}, {report.split}, protocol "
                f"{report.protocol.name}) does not belong to the first: all need its task and "
                "split, and its protocol, or its set under a protocol that differs in length alone"
            )


def _content(report: Report) -> str:
    """What identifies the set that was trained on: its name, where it is no artifact."""
    return report.content_sha256 or report.data


def _same_set(one: Report, other: Report) -> bool:
    """Whether they are of the same set, under protocols that differ in length alone."""
    length = {"name", "version", "steps", "epochs", "draws"}
    protocols = [report.protocol.model_dump(exclude=length) for report in (one, other)]
    return _content(one) == _content(other) and protocols[0] == protocols[1]


def _rates(row: Row) -> list[float | None]:
    columns = zip(*(trial.per_class for trial in row.trials), strict=True)
    known = ([rate for rate in column if rate is not None] for column in columns)
    return [statistics.fmean(rates) if rates else None for rates in known]


def _root_shade(share: float) -> int:
    """The shade of a share: its square root, so that rare confusions are seen.

    >>> _root_shade(0), _root_shade(0.002), _root_shade(0.25), _root_shade(1)
    (0, 1, 5, 10)
    """
    return math.ceil(DARKEST * math.sqrt(share) - 1e-9)


def _family_and_norm(network: str) -> tuple[str, str]:
    family, slash, norm = network.rpartition("/")
    return (family, norm) if slash and norm in NORMS else (network, DEFAULT_NORM)
