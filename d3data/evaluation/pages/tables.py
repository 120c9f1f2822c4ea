"""Tables of bars and of shaded cells: what they hold, and as PNG."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from d3data.evaluation.pages import figures
from d3data.evaluation.pages.figures import INK, LINE, PAPER, SOFT
from d3data.images.png import encode_png

ROW = 20  # pixels
DARKEST = 10  # the number of the darkest shade
NAMED = 20  # rows up to which a shaded table has names and numbers
DEEP = "#969696"


class Rate(NamedTuple):
    """The accuracy on one class, of networks trained on the set and on its rival."""

    name: str
    own: float
    rival: float | None


class Cell(NamedTuple):
    """The text of a table's cell, and its shade: 0 to `DARKEST`."""

    text: str
    shade: int
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """A shaded table."""

    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Cell]]

    @property
    def named(self) -> bool:
        """Whether it is small enough for names and numbers."""
        return len(self.rows) <= NAMED

    @property
    def image(self) -> str:
        """A grey image as a data address, one pixel a cell; 255 is shade 0."""
        shades = torch.tensor([[cell.shade for cell in row] for row in self.cells])
        pixels = (255 - 12 * shades).to(torch.uint8)[None]
        return f"data:image/png;base64,{base64.b64encode(encode_png(pixels)).decode()}"


def bars_png(bars: Sequence[Rate], heading: str, own: str, rival: str | None) -> bytes:
    """A bar for each class, and a stroke for what the rival reaches there."""
    rows = range(len(bars))
    with figures.style():
        plot = figures.axes(460, ROW * len(bars), around=(0, 0, 0, 0))
        plot.set(xlim=(0, 1), ylim=(len(bars) - 0.5, -0.5), xticks=[])
        plot.barh(rows, 1, color=LINE, height=0.7)
        plot.barh(rows, [mine for _, mine, _ in bars], color=DEEP, height=0.7)
        for row, (_, mine, other) in enumerate(bars):
            plot.text(1.11, row, f"{100 * mine:.1f} %", va="center", ha="right")
            for color, width in ((PAPER, 5), (INK, 2)):
                plot.vlines(other or [], row - 0.5, row + 0.5, color, linewidth=width)
        plot.set_yticks(rows, [figures.label(name) for name, *_ in bars], color=INK)
        strokes = f"; strokes, {figures.label(rival)}" if rival else ""
        plot.set_xlabel(f"bars, {figures.label(own)}{strokes}", loc="left")
        plot.tick_params(length=0)
        return figures.png(plot, heading)


def grid_png(grid: Grid, heading: str, down: str, across: str) -> bytes:
    """A shaded table; a large one has no names and no numbers. `down` says what its rows are."""
    rows, columns = len(grid.rows), len(grid.columns)
    side = (46, 36) if grid.named else (600 / columns, 600 / rows)
    with figures.style():
        plot = figures.axes(columns * side[0], rows * side[1], around=(0, 0, 0, 0))
        shades = [[cell.shade for cell in cells] for cells in grid.cells]
        plot.imshow(shades, cmap="Greys", vmax=1.8 * DARKEST, aspect="auto", interpolation="none")
        plot.spines[:].set(visible=True, color=SOFT)
        plot.set(ylabel=down, xlabel=across, xticks=[], yticks=[])
        plot.xaxis.set_label_position("top")
        if grid.named:
            names = [figures.label(name, 18) for name in grid.columns]
            turn = 90 if max(map(len, names)) > 5 else 0
            plot.set_xticks(range(columns), names, rotation=turn, color=INK)
            plot.set_yticks(range(rows), [figures.label(name) for name in grid.rows], color=INK)
            plot.tick_params(length=0, labeltop=True, labelbottom=False)
            for row, cells in enumerate(grid.cells):
                for column, cell in enumerate(cells):
                    text = f"{cell.text}\n{cell.note}".strip()
                    plot.text(column, row, text, ha="center", va="center")
        return figures.png(plot, heading)
