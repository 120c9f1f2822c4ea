"""Numbers, names and values as people read them, and strangers' text that is safe to print."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

MOST = 80  # characters of a value from somebody else's file
ITEMS = 4  # of a list from there

_TURNING = re.compile(r"[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number of things, such as `1,200 priors`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def weight(size: int) -> str:
    """Bytes for people, such as `12.7 kB`."""
    for unit, bytes_each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_each:
            return f"{size / bytes_each:.3g} {unit}"
    return counted(size, "byte")


def figures(number: float) -> str:
    """A number in three figures, or to the next whole one.

    >>> figures(11), figures(0.0842), figures(99.96), figures(12345.6)
    ('11.0', '0.0842', '100', '12,346')
    """
    return f"{number:,.0f}" if number >= 100 else f"{number:#.3g}".rstrip(".")


def percent(share: float) -> str:
    """A share in per cent, in three figures."""
    return f"{figures(100 * share)} %"


def portion(share: float) -> str:
    """A share in per cent with one decimal, for columns whose shares add up."""
    return f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"


def duration(seconds: float) -> str:
    """A duration for people, such as `42 seconds`, `7 minutes` or `2.5 hours`."""
    if seconds < 90:
        return counted(round(seconds), "second")
    minutes = seconds / 60
    return counted(round(minutes), "minute") if minutes < 90 else f"{minutes / 60:.1f} hours"


def spans(numbers: list[int]) -> str:
    """Ascending numbers, runs of them shortened.

    >>> spans([0, 1, 2, 3, 7])
    '0 to 3, 7'
    """
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def upright(text: str) -> str:
    """Text without the marks that turn the direction of what stands around it, or end its line."""
    return _TURNING.sub("\ufffd", text)


def plain(text: str) -> str:
    """Text for fonts that have few letters: accents are lost, and letters become question marks.

    >>> plain("café"), plain("猫")
    ('cafe', '?')
    """
    bare = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in bare if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in bare)


def short(number: float) -> str:
    """A number for the ticks of an axis, such as `1,500` or `76.8 k`."""
    if number >= 1e6:
        return f"{number / 1e6:g} M"
    return f"{number / 1e3:g} k" if number >= 1e4 else f"{number:,.6g}"


def some(names: Iterable[str], *, at_most: int = 8) -> str:
    """A list for a message: the first few names and how many more there are.

    >>> some(["a", "b", "c"], at_most=2)
    'a, b and 1 more'
    """
    listed = list(names)
    rest = len(listed) - at_most
    return ", ".join(listed[:at_most]) + (f" and {rest} more" if rest > 0 else "")


def slug(text: str) -> str:
    """A name that a task or a set may have: small letters and digits with one sign between.

    >>> slug("My Flowers_102"), slug("v1.0"), slug("花")
    ('my-flowers_102', 'v1.0', 'own-images')
    """
    small = re.sub(r"[^a-z0-9._-]+", "-", text.lower())
    single = re.sub(r"[._-]{2,}", "-", small)[:56]
    return single.strip("._-") or "own-images"


def table(
    headings: Sequence[str], rows: Iterable[Sequence[Any]], *, words: int | None = None
) -> str:
    """Rows as aligned lines for a terminal; numbers go to the right.

    Where numbers are written out already, `words` says how many columns go to the left.

    >>> print(table(["name", "bytes"], [["parts", 1200]]))
    name   bytes
    parts  1,200
    """
    from rich.console import Console
    from rich.table import Table

    rows = [list(row) for row in rows]
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(headings))
    columns = [*zip(*rows, strict=True)] or [()] * len(headings)
    for number, column in enumerate(columns):
        numeric = bool(column) and all(isinstance(value, int | float) for value in column)
        right = numeric if words is None else number >= words
        heading = headings[number] if headings else ""
        grid.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*map(_cell, row))
    console = Console(width=10_000, color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def cut(text: str, most: int) -> str:
    """Text of at most `most` characters; dots stand for what is left out."""
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."


def printable(text: str, *, most: int = MOST) -> str:
    """Text on one line without control characters, and cut, for a terminal.

    >>> print(printable("a\\x1b[2J"))
    a\\x1b[2J
    """
    line = "".join(x if x.isprintable() else repr(x)[1:-1] for x in text[: most + 1])
    return cut(line, most)


def brief(value: object) -> str:
    """A short `repr` of a value from somebody else's file, however large it is.

    >>> print(brief((32, 64)), brief([[1], "a", 2, 3, 4]), brief("a\\nb"), brief({}))
    (32, 64) [list, 'a', 2, 3, ...] 'a\\nb' dict
    """
    if not isinstance(value, list | tuple):
        return _brief_item(value)
    inner = [*map(_brief_item, value[:ITEMS]), *(["..."] if len(value) > ITEMS else [])]
    if isinstance(value, list):
        return f"[{', '.join(inner)}]"
    return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"


def _brief_item(value: object) -> str:
    if isinstance(value, str | bytes):
        return cut(repr(value[:MOST]), MOST)
    if value is None or isinstance(value, int | float):
        return cut(repr(value), MOST)
    return type(value).__name__
