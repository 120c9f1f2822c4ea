"""Charts of accuracies: each is drawn once, for a page and for a PNG.

Markers and dashes tell series apart without color.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from d3data.evaluation.pages import figures
from d3data.evaluation.pages.figures import INK, LINE, OWN, PAPER, SOFT
from d3data.evaluation.record import Row
from d3data.utils.templates import NARROW, WIDE
from d3data.utils.text import weight

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MARKERS = ("o", "s", "^", "D", "x", "v", "+", "*", "P", "<", ">", (6, 2))
DASHES = ((), (7, 4), (2, 3), (10, 3, 2, 3), (14, 4), (5, 2, 2, 2, 2, 2), (4, 8))
OPACITIES = (1.0, 0.78, 0.58, 0.42, 0.3, 0.21, 0.14, 0.09)  # of a bar's pieces; print in gray
ROW, SWATCH, LETTER = 20, 40, 7  # pixels of an entry of the key, its line and a letter
TICK = 62  # pixels between two ticks

Point = tuple[float, float, float]  # x, the accuracy in per cent, and its standard deviation


@dataclass(frozen=True)
class Axis:
    """What goes from left to right, and how its ticks are written; linear ones begin at 0."""

    title: str
    text: Callable[[float], str]
    logarithmic: bool = False


@dataclass(frozen=True)
class Series:
    """Points that belong together; `style` selects marker and dashes, alike in all charts."""

    name: str
    points: tuple[Point, ...]
    style: int = 0
    ours: bool = False
    marked: bool = True

    @property
    def key(self) -> str:
        """Its entry in the key; the accuracy too, where it is a single one."""
        alone = f", {self.points[0][1]:.1f} %" if len(self.points) == 1 else ""
        return f"{figures.label(self.name)}{alone}"


@dataclass(frozen=True)
class Chart:
    """Accuracy against something; the first series lies on top."""

    name: str
    title: str
    series: Sequence[Series]
    axis: Axis

    @property
    def label(self) -> str:
        def ends(points: Sequence[Point]) -> str:
            return " to ".join(f"{y:.1f} %" for _, y, _ in (points[0], points[-1])[: len(points)])

        return f"{self.title}: {'; '.join(f'{s.name} {ends(s.points)}' for s in self.series)}"

    @property
    def svgs(self) -> "list[Markup]":
        """For wide and for narrow screens."""
        svgs, words = [], figures.label(self.label, 2000)
        for width, height in (WIDE, NARROW):
            with figures.style(**{"svg.hashsalt": f"{self.name} {width}"}):
                svgs.append(figures.svg(self.plot(width, height), words))
        return svgs

    def png(self, heading: str) -> bytes:
        with figures.style():
            return figures.png(self.plot(*WIDE), heading, above=36)

    def plot(self, width: int, height: int) -> "Axes":
        """Drawn into so many pixels, and the key below."""
        from matplotlib.ticker import FuncFormatter

        names = [one.key for one in self.series]
        columns = max(1, int(width / (SWATCH + 24 + LETTER * max(map(len, names)))))
        key = ROW * -(-len(names) // columns) + 8
        plot = figures.axes(width, height + key, around=(38, 18, 26, 42 + key))
        plot.grid(axis="y", color=LINE, linewidth=1)
        plot.tick_params(axis="y", length=0)
        lines = [_draw(plot, one, len(names) - n) for n, one in enumerate(self.series)]
        places = (0, 1), (-30, 10), "axes fraction", "offset points"
        plot.annotate("accuracy, %", *places, color=SOFT)
        plot.set_xlabel(self.axis.title, loc="right")
        _scale_up(plot, [edge for one in self.series for p in one.points for edge in _edges(p)])
        _scale_across(plot, [x for one in self.series for x, *_ in one.points], self.axis, width)
        plot.xaxis.set_major_formatter(FuncFormatter(lambda x, _: self.axis.text(x)))
        figures.figure_of(plot).legend(
            lines, names, ncols=columns, loc="lower left", bbox_to_anchor=(0, 0),
            frameon=False, borderpad=0.2, handlelength=SWATCH / 13, labelspacing=0.5,
            fontsize=13,
        )  # fmt: skip
        return plot


BYTES = Axis("bytes, on a logarithmic axis", lambda size: weight(round(size)), logarithmic=True)


def point(x: float, row: Row) -> Point:
    """The point of a row at `x`."""
    return x, 100 * row.mean, 100 * (row.std or 0.0)


def stacked_bar(shares: Sequence[float]) -> list[tuple[float, float, float]]:
    """The start, the length and the opacity of the pieces of a bar that is 1000 long."""
    starts = itertools.accumulate((1000 * share for share in shares), initial=0.0)
    opacities = itertools.chain(OPACITIES, itertools.repeat(OPACITIES[-1]))
    pieces = zip(starts, shares, opacities, strict=False)
    return [(start, 1000 * share, opacity) for start, share, opacity in pieces]


def _draw(plot: "Axes", series: Series, order: int) -> "Line2D":
    """Its line, its points and their standard deviations; higher orders lie on top."""
    color, size = (OWN, 11) if series.ours else (INK, 9)
    x, y, _ = zip(*series.points, strict=True)
    edges = zip(*map(_edges, series.points), strict=True)
    spread = [np.abs(np.subtract(y, edge)) for edge in edges]
    line: Line2D = plot.errorbar(
        x,
        y,
        yerr=spread if np.any(spread) else None,
        color=color,
        linewidth=2.5 if series.ours else 1.5,
        elinewidth=1.75,
        linestyle=(0, DASHES[series.style % len(DASHES)]) if len(x) > 1 else "none",
        marker=MARKERS[series.style % len(MARKERS)] if series.marked else "",
        markersize=size,
        markerfacecolor=color if series.ours else PAPER,
        zorder=2 + order,
        clip_on=False,
    )[0]
    return line


def _edges(point: Point) -> tuple[float, float]:
    """One standard deviation to either side, in [0, 100]."""
    _, value, spread = point
    return max(0.0, value - spread), min(100.0, value + spread)


def _scale_up(plot: "Axes", values: Sequence[float]) -> None:
    """Ticks around all values, which are per cents: at least four, and no further apart."""
    from matplotlib.ticker import MaxNLocator

    low = max(0.0, min(*values, max(values) - 1.5))
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, max(*values, low + 1.5))
    plot.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    plot.set_ylim(ticks[0], ticks[-1])


def _scale_across(plot: "Axes", values: Sequence[float], axis: Axis, width: int) -> None:
    """As many ticks as have room for their labels; a logarithmic axis has at least two."""
    from matplotlib.ticker import MaxNLocator

    low, high, most = min(values), max(values), width // TICK
    if not axis.logarithmic:
        plot.set_xticks(MaxNLocator(min(most, 6), steps=[1, 2, 5, 10]).tick_values(0, high or 1))
        plot.set_xlim(0, high or 1)
        return
    plot.set_xscale("log")
    margin = 1.6 if high > 4 * low else 2.6  # so there are at least two ticks
    low, high = low / margin, high * margin
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    for factors, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3)):
        ticks = [factor * 10.0**power for power in powers[::every] for factor in factors]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= most:
            break
    plot.set_xticks(inside)
    plot.minorticks_off()
    plot.set_xlim(low, high)
