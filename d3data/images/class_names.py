"""Which classes of a task the folders and lists of others are of, by what they are called."""

import re
from collections.abc import Sequence
from pathlib import Path

from d3data.errors import D3DataError
from d3data.images.formats.folders import folder_names
from d3data.utils.text import brief, some

NUMBER = re.compile("[0-9]{1,9}")
SRE2L = re.compile("new([0-9]{3,9})")  # Yin, Xing and Shen 2023, arXiv 2306.13092: new000, ...


def class_ids(
    names: Sequence[str],
    classes: Sequence[str],
    where: str | Path,
    *,
    error: type[D3DataError],
) -> list[int]:
    """The id in a task of each class that is named at `where`, all of them; else `error`.

    Names are those of the classes, or of the folders that `d3data export` makes of them, or the
    numbers from 0 on, as they are or as SRe2L's folders have them.

    >>> class_ids(["bee", "ant"], ["ant", "bee"], "x", error=D3DataError)
    [1, 0]
    >>> class_ids(["new001", "new000"], ["ant", "bee"], "x", error=D3DataError)
    [1, 0]
    """
    for spelling in (list(classes), folder_names(classes)):
        if sorted(names) == sorted(spelling):
            return [spelling.index(name) for name in names]
    numbers = numbered(names)
    if numbers and not {*names} & {*classes} and sorted(numbers) == [*range(len(classes))]:
        return numbers
    faults = {
        "has classes that are not in the task": set(names) - set(classes),
        "lacks classes of the task": set(classes) - set(names),
    }
    listed = "; ".join(
        f"{fault}: {some(map(brief, sorted(wrong)))}" for fault, wrong in faults.items() if wrong
    )
    raise error(
        f"{where} {listed or 'names a class twice'}. Name its folders after the classes, as "
        f"`d3data export` does ({some(map(brief, folder_names(classes)), at_most=2)}), or by "
        f"number, 0 to {len(classes) - 1}"
    )


def numbered(names: Sequence[str]) -> list[int] | None:
    """The numbers that all of these names are, in decimal digits or as SRe2L writes them."""
    for spelling in (NUMBER, SRE2L):
        matches = [spelling.fullmatch(name) for name in names]
        if all(matches):
            return [int(match[match.lastindex or 0]) for match in matches if match]
    return None
