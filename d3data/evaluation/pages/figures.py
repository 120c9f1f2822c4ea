"""Figures of matplotlib as PNG in greys, or as SVG that stands in a page and takes its colors.

Places and sizes are in pixels. No setting of matplotlib is left changed.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from d3data.utils import templates

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCH = 72  # pixels of a figure, of which a PNG has twice as many
INK, OWN, SOFT, LINE, PAPER = "#1e1e1e", "#1f1f1f", "#646464", "#e1e1e1", "#ffffff"
PAGE_COLORS = {
    INK: "var(--ink)",
    OWN: "var(--accent)",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
}
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": INK,
    "font.size": 12,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.labelcolor": SOFT,
    "axes.axisbelow": True,
    "lines.scale_dashes": False,
    "lines.markeredgewidth": 1.75,
}


def label(text: str, longest: int = 36) -> str:
    """Text of strangers for a chart: cut, in one line, and without marks that turn its direction.

    >>> label("a\\u202eb\\n" + 40 * "c", 6)
    'a\\ufffdb\\ufffdc…'
    """
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1].rstrip()}…"


def axes(width: float, height: float, *, around: tuple[float, float, float, float]) -> "Axes":
    """A plot without a frame, `around` from the edges: left, right, top and bottom."""
    from matplotlib.figure import Figure

    left, right, top, bottom = around
    inside = (width - left - right) / width, (height - top - bottom) / height
    figure = Figure(figsize=(width / INCH, height / INCH))
    plot = figure.add_axes((left / width, bottom / height, *inside))
    plot.spines[:].set_visible(False)
    return plot


@contextmanager
def style(**settings: Any) -> Iterator[None]:
    """Our style, whatever the user's is. Characters that the font lacks become boxes."""
    from matplotlib import style

    with style.context(["default", STYLE | settings]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        yield


def png(plot: "Axes", heading: str, *, above: float = 10) -> bytes:
    """The figure of a plot as a file, under a heading so far above it; nothing is cut off."""
    plot.set_title(label(heading, 90), loc="left", fontsize=14, pad=above)
    buffer = io.BytesIO()
    how: dict[str, Any] = {"dpi": 2 * INCH, "bbox_inches": "tight", "pad_inches": 0.2}
    bare = {"Software": None}  # no version of matplotlib in the file
    figure_of(plot).savefig(buffer, metadata=bare, **how)
    return buffer.getvalue()


def figure_of(plot: "Axes") -> "Figure":
    """The figure that a plot was made in."""
    figure = plot.get_figure(root=True)
    assert figure is not None, "`axes` made one"
    return figure


def svg(plot: "Axes", words: str) -> "Markup":
    """For inside a page: attributes in place of styles, which its policy refuses, and no date."""
    buffer = io.BytesIO()
    figure_of(plot).savefig(buffer, format="svg", transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314  written by matplotlib just now
    for element in root.iter():
        element.tag = _bare(element.tag)
        for child in list(element):
            if _bare(child.tag) in ("metadata", "style", "clipPath"):
                element.remove(child)
        rules = filter(None, element.attrib.pop("style", "").split("; "))
        attributes = element.attrib | dict(rule.split(": ", 1) for rule in rules)
        element.attrib = {
            _bare(name): PAGE_COLORS.get(value, value)
            for name, value in attributes.items()
            if name not in ("font-family", "clip-path") and (name, element.tag) != ("id", "g")
        }
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": words}
    text = ElementTree.tostring(root, encoding="unicode")
    return templates.trusted(re.sub(r"\n\s*", " ", text))


def _bare(name: str) -> str:
    return name.rpartition("}")[2]
