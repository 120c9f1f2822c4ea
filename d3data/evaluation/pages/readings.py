"""What the pictures of an evaluation show: numbers and names, read from its reports.

Legend: K classes. Accuracies are shares in [0, 1], in charts per cent.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from d3data.errors import DataError
from d3data.evaluation.pages.charts import Series, measured
from d3data.evaluation.report import Report, called
from d3data.evaluation.rows import Row

NORMS = ("none", "instance", "batch", "group", "layer")
RANDOM = ("random", "random-bytes", "real")  # ever more of the same
OWN = "its own"  # the norm of a network that was asked for without one
DEEPEST = 10  # the number of the darkest shade
NAMED = 20  # rows up to which a shaded table has names and numbers
CONFUSED = 8  # of the largest confusions, in words


@dataclass(frozen=True)
class Result:
    """A row of a report, what it is called here, and the style of its marks."""

    name: str
    style: int
    row: Row

    @property
    def ours(self) -> bool:
        """Whether it is a set, and no baseline."""
        return self.row.name == "distilled"

    def series(self, points: Iterable[tuple[float, float, float]]) -> Series:
        """Some points of it."""
        return Series(self.name, tuple(points), self.style, self.ours)


@dataclass(frozen=True)
class Rate:
    """The accuracy on one class, of networks trained on the set and on its rival."""

    name: str
    own: float
    rival: float | None


@dataclass(frozen=True)
class Cell:
    """What a table says at one place, and how dark it is there: 0 to `DEEPEST`."""

    text: str
    shade: int
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """A shaded table."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]

    @property
    def named(self) -> bool:
        """Whether it is small enough for names and numbers."""
        return len(self.rows) <= NAMED

    @property
    def tiles(self) -> list[tuple[int, str]]:
        """Each shade, and the squares of a side of 1 that have it, as SVG calls them."""
        found: dict[int, list[str]] = {}
        for y, cells in enumerate(self.cells):
            for x, cell in enumerate(cells):
                if cell.shade:
                    found.setdefault(cell.shade, []).append(f"M{x},{y}h1v1h-1z")
        return [(shade, "".join(found[shade])) for shade in sorted(found)]


class Readings:
    """Reports of one task; the first is the one that is shown in full.

    Raises:
        DataError: there is none, or one has another task or split than the first, or both another
            protocol and other content.
    """

    def __init__(self, reports: Sequence[Report]) -> None:
        if not reports:
            raise DataError("there is nothing to show: give at least one report")
        self.report, self.reports = reports[0], reports
        for number, report in enumerate(reports, 1):
            self._require_related(number, report)
        self.alike = [one for one in reports if one.protocol == self.report.protocol]
        self.network = self.report.rows[0].network

    @cached_property
    def results(self) -> list[Result]:
        """All rows of the reports that have the first one's protocol."""
        rows = [(self._called(one, row), row) for one in self.alike for row in one.rows]
        styles = {name: style for style, name in enumerate(dict.fromkeys(n for n, _ in rows))}
        return [Result(name, styles[name], row) for name, row in rows]

    @property
    def first(self) -> list[Result]:
        """The rows of the first report and of its first network."""
        mine = self.results[: len(self.report.rows)]
        return [one for one in mine if one.row.network == self.network]

    @property
    def rival(self) -> Result | None:
        """What the set is shown beside: random images, or else the first baseline."""
        others = [one for one in self.first if not one.ours]
        return next((one for one in others if one.row.name == "random"), next(iter(others), None))

    def sizes(self) -> list[Series]:
        """Accuracy against bytes; a baseline of several sizes is a curve.

        Random real images are one baseline, whatever their number is equal to, up to all.
        """
        found: dict[str, list[tuple[float, Result]]] = {}
        for one in self.results:
            if one.row.network == self.network and one.row.bytes:
                kind = "random" if one.row.name in RANDOM else one.name
                found.setdefault(kind, []).append((one.row.bytes, one))
        ordered = [sorted(kind, key=lambda pair: pair[0]) for kind in found.values()]
        return [
            kind[0][1].series(dict.fromkeys(measured(size, one.row) for size, one in kind))
            for kind in ordered
        ]

    def learning(self, against: str) -> list[Series]:
        """Accuracy on validation images against `step` or `seconds`, the mean of networks."""
        found = []
        for one in self.first:
            moments = zip(*(trial.curve for trial in one.row.trials), strict=False)
            points = [
                (
                    statistics.fmean(getattr(point, against) for point in points),
                    100 * statistics.fmean(point.accuracy for point in points),
                    0.0,
                )
                for points in moments
            ]
            found += [one.series(points)] if points else []
        return found

    def longer(self, against: Callable[[Row], float]) -> list[Series]:
        """Accuracy against what one training took, where reports of the same set differ in it.

        Their protocols differ in length, or in draws per epoch, alone.
        """
        found: dict[str, list[tuple[float, float, float]]] = {}
        alike = _content(self.report), _training(self.report)
        mine = [one for one in self.reports if (_content(one), _training(one)) == alike]
        for report in mine:
            for row in report.rows:
                if row.network == self.network and against(row) > 0:
                    name = self._called(report, row, own="this set")
                    found.setdefault(name, []).append(measured(against(row), row))
        several = {n: sorted(set(at)) for n, at in found.items() if len({x for x, *_ in at}) > 1}
        return [
            Series(name, tuple(points), style, name.startswith("this set"))
            for style, (name, points) in enumerate(several.items())
        ]

    def rates(self) -> list[Rate]:
        """The accuracy on each class that has test images, in their order."""
        own, rival = _rates(self.first[0].row), self.rival and _rates(self.rival.row)
        others = rival or [None] * len(own)
        named = zip(self.report.classes, own, others, strict=True)
        return [Rate(name, mine, other) for name, mine, other in named if mine is not None]

    def confusion(self) -> Grid | None:
        """Which class is taken for which, by the set's networks; None where nobody counted."""
        shares = self._shares()
        cells = tuple(
            tuple(Cell(f"{100 * s:.0f}" if s else "", _rooted(s)) for s in row) for row in shares
        )
        return Grid(self.report.classes, self.report.classes, cells) if cells else None

    def confusions(self) -> list[tuple[float, str, str]]:
        """The largest: the share of a class's images, the class, and what they are taken for."""
        names = self.report.classes
        found = [
            (share, names[label], names[answer])
            for label, row in enumerate(self._shares())
            for answer, share in enumerate(row)
            if share and label != answer
        ]
        return sorted(found, key=lambda one: -one[0])[:CONFUSED]

    def transfer(self) -> Grid | None:
        """Networks of other kinds, a family in each row and a norm in each column."""
        rows = [one.row for one in self.results[: len(self.report.rows)]]
        ours = [r for r in rows if r.name == "distilled" and r.labels == rows[0].labels]
        if len(ours) < 2:
            return None
        known = {_kind(row.network): row for row in ours}
        families = tuple(dict.fromkeys(family for family, _ in known))
        norms = tuple(n for n in (OWN, *NORMS) if n in {norm for _, norm in known})
        edges = min(row.mean for row in ours), max(row.mean for row in ours)
        others = {row.network: row.mean for row in rows if row.name == "random"}

        def cell(row: Row | None) -> Cell:
            if row is None:
                return Cell("-", 0)
            place = (row.mean - edges[0]) / (edges[1] - edges[0] or 1)
            lead = 100 * (row.mean - others.get(row.network, math.nan))
            note = "" if math.isnan(lead) else f"{lead:+.1f}"
            return Cell(f"{100 * row.mean:.1f}", round(1 + place * (DEEPEST - 1)), note)

        cells = tuple(tuple(cell(known.get((f, norm))) for norm in norms) for f in families)
        return Grid(families, norms, cells)

    def _shares(self) -> list[list[float]]:
        """(K, K) shares of the images of each class, of all networks of the first row."""
        counts = [trial.confusion for trial in self.first[0].row.trials if trial.confusion]
        sums = [
            [sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*counts, strict=True)
        ]
        return [[count / (sum(row) or 1) for count in row] for row in sums]

    def _called(self, report: Report, row: Row, own: str | None = None) -> str:
        """What the row of a report is called; sets by their names where there are several."""
        name = own if own and row.name == "distilled" else called(row)
        sets = {_content(one): one.data for one in self.alike}
        if row.name == "distilled" and len(sets) > 1 and own is None:
            twins = [*sets.values()].count(report.data)
            name = f"{report.data} ({_content(report)[:8]})" if twins > 1 else report.data
        kinds = {one.labels for one in report.rows if one.name == row.name}
        return f"{name}, {row.labels} labels" if len(kinds) > 1 else name

    def _require_related(self, number: int, report: Report) -> None:
        first = self.report
        longer = (_content(report), _training(report)) == (_content(first), _training(first))
        same = report.protocol == first.protocol or longer
        if (report.fingerprint, report.split) != (first.fingerprint, first.split) or not same:
            raise DataError(
                f"report {number} ({report.data} on {report.task}, {report.split}, protocol "
                f"{report.protocol.name}) does not belong to the first: all need its task and "
                "split, and its protocol, or its set under a protocol that differs in length alone"
            )


def _content(report: Report) -> str:
    """What identifies the set that was trained on: its name, where it is no artifact."""
    return report.content_sha256 or report.data


def _training(report: Report) -> dict[str, Any]:
    """How networks were trained, but for how long."""
    return report.protocol.model_dump(exclude={"name", "version", "steps", "epochs", "draws"})


def _rates(row: Row) -> list[float | None]:
    columns = zip(*(trial.per_class for trial in row.trials), strict=True)
    known = ([rate for rate in column if rate is not None] for column in columns)
    return [statistics.fmean(rates) if rates else None for rates in known]


def _rooted(share: float) -> int:
    """The shade of a share: its square root, so that rare confusions are seen.

    >>> _rooted(0), _rooted(0.002), _rooted(0.25), _rooted(1)
    (0, 1, 5, 10)
    """
    return math.ceil(DEEPEST * math.sqrt(share) - 1e-9)


def _kind(network: str) -> tuple[str, str]:
    family, slash, norm = network.rpartition("/")
    return (family, norm) if slash and norm in NORMS else (network, OWN)
