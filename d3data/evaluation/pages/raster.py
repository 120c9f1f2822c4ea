"""Charts as PNG, in black and greys on white: the same places as on the page.

The font has plain letters; others lose their accents or become question marks.
"""

import functools
import io
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from d3data.evaluation.pages.charts import Plot, Series
from d3data.evaluation.pages.readings import DEEPEST, Grid, Rate
from d3data.evaluation.pages.shapes import Point, Shape
from d3data.utils.text import plain

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FINE, SCALE = 4, 2  # dots of a pixel while it is drawn, and in the picture
PAPER, INK, SOFT, DEEP, FAINT = 255, 30, 100, 150, 225  # greys
MARGIN, HEADING, ROW, SWATCH = 14, 30, 20, 40  # pixels
LONGEST, HEADLINE = 36, 90  # letters of a name, and of a heading


class Sheet:
    """White paper with a heading, on which places are counted in pixels below that."""

    def __init__(self, width: float, height: float, heading: str) -> None:
        from PIL import Image, ImageDraw

        heading = _cut(heading, HEADLINE)
        width = max(width, _long(heading, 14))
        size = (round(FINE * (width + 2 * MARGIN)), round(FINE * (height + 2 * MARGIN + HEADING)))
        self._image = Image.new("L", size, PAPER)
        self._pen = ImageDraw.Draw(self._image)
        self._top = 0
        self.text((0, 6), heading, size=14, anchor="lm")
        self._top = HEADING

    def text(
        self, at: Point, text: str, *, ink: int = INK, size: int = 12, anchor: str = "lm"
    ) -> None:
        """Write a line; the anchor is Pillow's."""
        self._pen.text(self._at(at), plain(text), ink, font=_font(size), anchor=anchor)

    def line(
        self,
        points: Sequence[Point],
        *,
        ink: int = INK,
        width: float = 1,
        dash: Sequence[int] = (),
    ) -> None:
        """A line through points, in pieces and gaps as long as `dash` says."""
        for start, end in _pieces(points, dash) if dash else itertools.pairwise(points):
            self._pen.line([self._at(start), self._at(end)], ink, round(FINE * width))

    def box(self, at: Point, width: float, height: float, *, ink: int) -> None:
        """A full rectangle."""
        (x, y), end = self._at(at), self._at((at[0] + width, at[1] + height))
        self._pen.rectangle([x, y, max(x, end[0] - 1), max(y, end[1] - 1)], ink)

    def shape(self, at: Point, shape: Shape, *, filled: bool) -> None:
        """A mark."""
        for outline in shape.outlines:
            dots = [self._at((at[0] + x, at[1] + y)) for x, y in outline]
            if len(dots) > 2:
                self._pen.polygon(dots, INK if filled else PAPER)
            self._pen.line(
                [*dots, *(dots[:2] if len(dots) > 2 else [])], INK, round(1.75 * FINE), "curve"
            )

    def frame(self, at: Point, width: float, height: float) -> None:
        """The outline of a rectangle."""
        (x, y), (right, floor) = at, (at[0] + width, at[1] + height)
        self.line([(x, y), (right, y), (right, floor), (x, floor), (x, y)], ink=SOFT)

    def png(self) -> bytes:
        """The file."""
        buffer = io.BytesIO()
        self._image.reduce(FINE // SCALE).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()

    def _at(self, point: Point) -> Point:
        return FINE * (point[0] + MARGIN), FINE * (point[1] + MARGIN + self._top)


def chart(plot: Plot, series: Sequence[Series], heading: str) -> bytes:
    """A plot and its key."""
    places = list(_flowed(series, plot.width))
    sheet = Sheet(plot.width, plot.height + places[-1][1] + ROW, heading)
    floor, right = plot.height - plot.bottom, plot.width - plot.right
    for y, label in plot.up:
        sheet.line([(plot.left, y), (right, y)], ink=FAINT)
        sheet.text((plot.left - 8, y), label, ink=SOFT, anchor="rm")
    for x, label in plot.across:
        sheet.line([(x, floor), (x, floor + 5)], ink=SOFT)
        sheet.text((x, floor + 15), label, ink=SOFT, anchor="mm")
    sheet.text((plot.left - 38, 6), "accuracy, %", ink=SOFT)
    sheet.text((right, plot.height - 9), plot.title, ink=SOFT, anchor="rm")
    for curve in plot.curves:
        sheet.line(curve.points, dash=curve.dash, width=2.5 if curve.filled else 1.5)
    for mark in plot.marks:
        sheet.line([(mark.x, mark.low), (mark.x, mark.high)], width=1.75)
        sheet.shape((mark.x, mark.y), mark.shape, filled=mark.filled)
    for one, (x, y) in zip(series, places, strict=True):
        _keyed(sheet, one, x, plot.height + y + ROW / 2)
    return sheet.png()


def grid(shaded: Grid, heading: str, down: str, across: str) -> bytes:
    """A shaded table; of many classes without numbers and names."""
    named = shaded.named
    rows = [_cut(name) for name in shaded.rows] if named else [""]
    columns = [_cut(name, LONGEST // 2) for name in shaded.columns] if named else [""]
    width = max(44.0, *(_long(name) + 10 for name in columns)) if named else 600 / len(shaded.rows)
    height, top = (36.0, 2.0 * ROW) if named else (width, float(ROW))
    left = max(map(_long, (down, *rows))) + 10
    sheet = Sheet(
        left + max(width * len(shaded.columns), _long(across)),
        top + height * len(shaded.rows),
        heading,
    )
    sheet.text((left, ROW / 2), across, ink=SOFT)
    sheet.text((0, top - ROW / 2), down, ink=SOFT)
    for x, name in enumerate(columns):
        sheet.text((left + width * (x + 0.5), top - ROW / 2), name, anchor="mm")
    for y, name in enumerate(rows):
        sheet.text((left - 8, top + height * (y + 0.5)), name, anchor="rm")
    for y, cells in enumerate(shaded.cells):
        for x, cell in enumerate(cells):
            at = left + width * x, top + height * y
            sheet.box(at, width, height, ink=round(PAPER - cell.shade / DEEPEST * (PAPER - DEEP)))
            if named:
                middle = at[0] + width / 2, at[1] + height / 2
                lines = [line for line in (cell.text, cell.note) if line]
                for number, line in enumerate(lines):
                    place = middle[0], middle[1] + 14 * (number - (len(lines) - 1) / 2)
                    sheet.text(place, line, anchor="mm", size=12 - number)
    sheet.frame((left, top), width * len(shaded.columns), height * len(shaded.rows))
    return sheet.png()


def bars(rates: Sequence[Rate], heading: str, own: str, rival: str | None) -> bytes:
    """A bar for each class, and a stroke for what the rival reaches."""
    names = [_cut(rate.name) for rate in rates]
    left = max(map(_long, names)) + 10
    width, end = 460.0, 50
    sheet = Sheet(left + width + end, ROW * (len(rates) + 1.5), heading)
    for number, (rate, name) in enumerate(zip(rates, names, strict=True)):
        y = ROW * number
        sheet.text((left - 8, y + ROW / 2), name, anchor="rm")
        sheet.box((left, y + 3), width, ROW - 6, ink=FAINT)
        sheet.box((left, y + 3), width * rate.own, ROW - 6, ink=DEEP)
        if rate.rival is not None:
            x = left + width * rate.rival
            sheet.line([(x, y), (x, y + ROW)], ink=PAPER, width=5)
            sheet.line([(x, y), (x, y + ROW)], width=2)
        sheet.text((left + width + end, y + ROW / 2), f"{100 * rate.own:.1f} %", anchor="rm")
    stroke = f"; a stroke, {rival}" if rival else ""
    sheet.text((left, ROW * (len(rates) + 0.75)), f"bars, {own}{stroke}", ink=SOFT)
    return sheet.png()


def _keyed(sheet: Sheet, one: Series, x: float, y: float) -> None:
    """An entry of a key: a piece of the line, the mark, and the name."""
    if len(one.points) > 1:
        line = [(x, y), (x + SWATCH, y)]
        sheet.line(line, dash=one.dash, width=2.5 if one.ours else 1.5)
    if one.marked:
        sheet.shape((x + SWATCH / 2, y), one.shape, filled=one.ours)
    sheet.text((x + SWATCH + 6, y), _cut(one.name))


def _flowed(series: Sequence[Series], width: float) -> Iterable[Point]:
    """Where the entries of a key go, line after line."""
    x = y = 0.0
    for one in series:
        step = SWATCH + 6 + _long(_cut(one.name)) + 18
        if x and x + step > width:
            x, y = 0.0, y + ROW
        yield x, y
        x += step


def _pieces(points: Sequence[Point], dash: Sequence[int]) -> Iterable[tuple[Point, Point]]:
    """The pieces of a dashed line through points; its pattern runs on around corners."""
    pattern, drawn = itertools.cycle(dash), True
    rest = float(next(pattern))
    for start, end in itertools.pairwise(points):
        length, done = math.dist(start, end), 0.0
        while done < length:
            step = min(rest, length - done)
            if drawn:
                yield (
                    _between(start, end, done / length),
                    _between(start, end, (done + step) / length),
                )
            done, rest = done + step, rest - step
            if rest <= 0:
                rest, drawn = float(next(pattern)), not drawn


def _between(start: Point, end: Point, share: float) -> Point:
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _cut(name: str, most: int = LONGEST) -> str:
    return name if len(name) <= most else f"{name[: most - 3].rstrip()}..."


def _long(text: str, size: int = 12) -> float:
    """How many pixels a text takes."""
    return float(_font(size).getlength(plain(text))) / FINE


@functools.cache
def _font(size: int) -> "FreeTypeFont":
    from PIL import ImageFont

    font = ImageFont.load_default(FINE * size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font
