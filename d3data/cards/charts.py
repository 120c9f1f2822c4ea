"""Where the marks of a chart go: numbers only, which a template draws as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from d3data.cards.facts import called
from d3data.cards.words import weight
from d3data.evaluation.report import Row

SHADES = (1.0, 0.78, 0.58, 0.42, 0.3, 0.21, 0.14, 0.09)  # opacity, which prints well in grey
SHAPES = (  # a disc, a square, a triangle, a diamond, a cross: told apart without colour
    "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0z",
    "M-5,-5h10v10h-10z",
    "M0,-6.5L6,5H-6z",
    "M0,-7L7,0L0,7L-7,0z",
    "M-5,-5L5,5M-5,5L5,-5",
)
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 22, 46  # room around a plot
LINE, LETTER, GAP = 17, 8, 13  # the height of a label, the width of its letters, its distance
STEPS = (0.5, 1, 2, 5, 10, 20)  # per cent between two ticks


@dataclass(frozen=True)
class Segment:
    """A piece of a bar that is 1000 wide."""

    x: float
    width: float
    opacity: float


@dataclass(frozen=True)
class Mark:
    """A row of a report in a plot, with its spread and its label."""

    x: float
    y: float
    low: float
    high: float
    shape: str
    filled: bool
    label: str
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True)
class Plot:
    """Accuracy against bytes on a logarithmic axis; ticks are places with their labels."""

    width: int
    height: int
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    marks: tuple[Mark, ...]
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM


def bar(shares: Sequence[float]) -> list[Segment]:
    """Shares of a whole, side by side, each lighter than the one before."""
    found, x = [], 0.0
    for number, share in enumerate(shares):
        found.append(Segment(x, 1000 * share, SHADES[min(number, len(SHADES) - 1)]))
        x += 1000 * share
    return found


def plot(rows: Sequence[Row], *, width: int, height: int) -> Plot | None:
    """The rows that say how many bytes they are; None where none does."""
    sized = [(row.bytes, row) for row in rows if row.bytes]
    if not sized:
        return None
    ticks = _decades([size for size, _ in sized])
    low, high, step = _range([edge for _, row in sized for edge in _edges(row)])

    def across(size: float) -> float:
        first, last = math.log10(ticks[0]), math.log10(ticks[-1])
        place = (math.log10(size) - first) / (last - first)
        return round(LEFT + place * (width - LEFT - RIGHT), 2)

    def up(value: float) -> float:
        return round(height - BOTTOM - (value - low) / (high - low) * (height - TOP - BOTTOM), 2)

    marks = []
    for number, (size, row) in enumerate(sized):
        x, y = across(size), up(100 * row.mean)
        bottom, top = map(up, _edges(row))
        label, label_x, anchor = _beside(row, x, width)
        marks.append(
            Mark(
                x=x,
                y=y,
                low=bottom,
                high=top,
                shape=SHAPES[number % len(SHAPES)],
                filled=number == 0,
                label=label,
                label_x=label_x,
                label_y=y + 4,
                anchor=anchor,
            )
        )
    levels = [low + n * step for n in range(round((high - low) / step) + 1)]
    return Plot(
        width,
        height,
        tuple((across(tick), weight(tick)) for tick in ticks),
        tuple((up(level), f"{level:g}") for level in levels),
        tuple(_apart(marks)),
    )


def _beside(row: Row, x: float, width: int) -> tuple[str, float, str]:
    """The label of a mark at `x`, which goes to the wider side, its place and its anchor."""
    left, end = x > width / 2, f", {100 * row.mean:.1f} %"
    room = int((x if left else width - x) - GAP) // LETTER
    count = f", {row.images_per_class:,} a class" if row.images_per_class else ""
    name = called(row)
    if len(name + count + end) > room:
        count = ""
    if len(name + end) > room:
        name = f"{name[: max(1, room - len(end) - 1)]}\u2026"
    return f"{name}{count}{end}", x - GAP if left else x + GAP, "end" if left else "start"


def _edges(row: Row) -> tuple[float, float]:
    spread = row.std or 0.0
    return 100 * max(0.0, row.mean - spread), 100 * min(1.0, row.mean + spread)


def _decades(sizes: Sequence[int]) -> list[int]:
    """Powers of ten around all sizes."""
    first = math.floor(math.log10(min(sizes) * 0.7))
    last = math.ceil(math.log10(max(sizes) * 1.4))
    return [10**power for power in range(max(0, first), max(first, last, 1) + 1)]


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


def _apart(marks: Sequence[Mark]) -> list[Mark]:
    """The same marks, whose labels are at least a line apart; the highest stays where it is."""
    placed: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: mark.label_y):
        least = placed[-1].label_y + LINE if placed else mark.label_y
        placed.append(replace(mark, label_y=max(mark.label_y, least)))
    return placed
