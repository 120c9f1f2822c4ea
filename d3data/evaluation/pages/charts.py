"""Where the marks of a chart go: numbers only, which are drawn as SVG and as PNG alike."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from d3data.evaluation.pages.shapes import DASHES, SHAPES, Shape
from d3data.evaluation.report import called
from d3data.evaluation.rows import Row
from d3data.utils.text import weight

SHADES = (1.0, 0.78, 0.58, 0.42, 0.3, 0.21, 0.14, 0.09)  # opacity, which prints well in grey
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 22, 46  # room around a plot
LINE, LETTER, GAP = 17, 8, 13  # the height of a label, the width of its letters, its distance
STEPS = (0.5, 1, 2, 5, 10, 20)  # per cent between two ticks
TICKS, TICK = 7, 62  # at most along a logarithmic axis; the width of a label
FINE = (1, 2, 5)  # the ticks of a decade, where few decades are shown


@dataclass(frozen=True)
class Segment:
    """A piece of a bar that is 1000 wide."""

    x: float
    width: float
    opacity: float


@dataclass(frozen=True)
class Axis:
    """What goes from left to right, and how its ticks are written; linear ones begin at 0."""

    title: str
    text: Callable[[float], str]
    logarithmic: bool = False


@dataclass(frozen=True)
class Series:
    """Points that belong together: x, the accuracy in per cent, and its standard deviation.

    Its `style` is its shape and its dashes, the same in every chart of a page.
    """

    name: str
    points: tuple[tuple[float, float, float], ...]
    style: int = 0
    ours: bool = False
    marked: bool = True

    @property
    def shape(self) -> Shape:
        """What marks its points."""
        return SHAPES[self.style % len(SHAPES)]

    @property
    def dash(self) -> tuple[int, ...]:
        """The pieces and gaps of its line; none for a solid one."""
        return DASHES[self.style % len(DASHES)]


@dataclass(frozen=True)
class Mark:
    """A point in a plot, with its spread and perhaps a label."""

    x: float
    y: float
    low: float
    high: float
    shape: Shape
    filled: bool
    label: str = ""
    label_x: float = 0
    label_y: float = 0
    anchor: str = "start"


@dataclass(frozen=True)
class Curve:
    """A line through the marks of a series."""

    points: tuple[tuple[float, float], ...]
    dash: tuple[int, ...]
    filled: bool


@dataclass(frozen=True)
class Plot:
    """Accuracy against something; ticks are places with their labels, some of them empty."""

    width: int
    height: int
    title: str
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    marks: tuple[Mark, ...]
    curves: tuple[Curve, ...] = ()
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM


BYTES = Axis("bytes, on a logarithmic axis", lambda size: weight(round(size)), logarithmic=True)


def bar(shares: Sequence[float]) -> list[Segment]:
    """Shares of a whole, side by side, each lighter than the one before."""
    found, x = [], 0.0
    for number, share in enumerate(shares):
        found.append(Segment(x, 1000 * share, SHADES[min(number, len(SHADES) - 1)]))
        x += 1000 * share
    return found


def plot(rows: Sequence[Row], *, width: int, height: int) -> Plot | None:
    """Accuracy against bytes, labelled, of the rows that say how many these are; else None."""
    sized = [row for row in rows if row.bytes]
    if not sized:
        return None
    series = [
        Series(row.name, (measured(row.bytes or 0, row),), number, ours=number == 0)
        for number, row in enumerate(sized)
    ]
    bare = draw(series, BYTES, width=width, height=height)
    labeled = [_beside(*pair, width) for pair in zip(bare.marks, sized[::-1], strict=True)]
    return replace(bare, marks=tuple(_apart(labeled)))


def measured(x: float, row: Row) -> tuple[float, float, float]:
    """The point of a row at `x`."""
    return x, 100 * row.mean, 100 * (row.std or 0.0)


def draw(series: Sequence[Series], axis: Axis, *, width: int, height: int) -> Plot:
    """The plot of some series, each of which has a point; the first one lies on top."""
    places = [x for one in series for x, *_ in one.points]
    ticks = _decades(places) if axis.logarithmic else _even(max(places))
    scale = math.log10 if axis.logarithmic else float
    first, last = scale(ticks[0]), scale(ticks[-1])
    low, high, step = _range([edge for one in series for at in one.points for edge in _edges(at)])

    def across(value: float) -> float:
        place = (scale(value) - first) / (last - first)
        return round(LEFT + place * (width - LEFT - RIGHT), 2)

    def up(value: float) -> float:
        return round(height - BOTTOM - (value - low) / (high - low) * (height - TOP - BOTTOM), 2)

    def mark(one: Series, at: tuple[float, float, float]) -> Mark:
        bottom, top = map(up, _edges(at))
        return Mark(across(at[0]), up(at[1]), bottom, top, one.shape, one.ours)

    every = -(-len(ticks) * TICK // (width - LEFT))  # labels that have room
    levels = [low + n * step for n in range(round((high - low) / step) + 1)]
    lines = [
        Curve(tuple((across(x), up(y)) for x, y, _ in one.points), one.dash, one.ours)
        for one in series[::-1]
        if len(one.points) > 1
    ]
    return Plot(
        width,
        height,
        axis.title,
        tuple((across(t), "" if n % every else axis.text(t)) for n, t in enumerate(ticks)),
        tuple((up(level), f"{level:g}") for level in levels),
        tuple(mark(one, at) for one in series[::-1] if one.marked for at in one.points),
        tuple(lines),
    )


def _beside(mark: Mark, row: Row, width: int) -> Mark:
    """A mark with its label, which goes to the wider side."""
    left, end = mark.x > width / 2, f", {100 * row.mean:.1f} %"
    room = int((mark.x if left else width - mark.x) - GAP) // LETTER
    count = f", {row.images_per_class:,} a class" if row.images_per_class else ""
    name = called(row)
    if len(name + count + end) > room:
        count = ""
    if len(name + end) > room:
        name = f"{name[: max(1, room - len(end) - 1)]}\u2026"
    return replace(
        mark,
        label=f"{name}{count}{end}",
        label_x=mark.x - GAP if left else mark.x + GAP,
        label_y=mark.y + 4,
        anchor="end" if left else "start",
    )


def _edges(point: tuple[float, float, float]) -> tuple[float, float]:
    _, value, spread = point
    return max(0.0, value - spread), min(100.0, value + spread)


def _decades(values: Sequence[float]) -> list[float]:
    """Powers of ten around all values; with twice and five times these where they are few."""
    low, high = min(values) * 0.96, max(values) * 1.04
    powers = range(max(0, math.floor(math.log10(low))), max(0, math.floor(math.log10(high))) + 2)
    fine = _around([float(m * 10**power) for power in powers for m in FINE], low, high)
    return fine if len(fine) <= TICKS else _around([10.0**p for p in powers], low, high)


def _around(ticks: Sequence[float], low: float, high: float) -> list[float]:
    """Those of ascending ticks that lie in a range, and the next on either side."""
    first = sum(tick <= low for tick in ticks[1:-1])
    last = next(n for n, tick in enumerate(ticks) if tick >= high)
    return list(ticks[first : max(last, first + 1) + 1])


def _even(most: float) -> list[float]:
    """At most six ticks from 0 to `most` or a little more."""
    unit = 10.0 ** math.floor(math.log10(max(most, 0.01) / 5))
    step = next(unit * m for m in (*FINE, 10) if unit * m * 5 >= most)
    return [n * step for n in range(max(1, math.ceil(most / step - 1e-9)) + 1)]


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    """Where an axis of per cents begins and ends, and its step: at most seven ticks."""
    low, high = min(values), max(values)
    for step in STEPS:
        first, last = math.floor(low / step) * step, math.ceil(high / step) * step
        if last - first < 3 * step:
            first = max(0.0, last - 3 * step)
        if last - first <= 6 * step:
            break
    return first, max(last, first + 3 * step), step


def _apart(marks: Iterable[Mark]) -> list[Mark]:
    """The same marks, whose labels are at least a line apart; the highest stays where it is."""
    placed: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: mark.label_y):
        least = placed[-1].label_y + LINE if placed else mark.label_y
        placed.append(replace(mark, label_y=max(mark.label_y, least)))
    return placed
