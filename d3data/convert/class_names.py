"""Which classes of a task the folders, or the names in an archive, stand for."""

from collections.abc import Sequence
from pathlib import Path

from d3data.errors import ArtifactError
from d3data.images.formats.folders import folder_names
from d3data.utils.text import brief, some


def ids_of(found: Sequence[str], classes: Sequence[str], where: str | Path) -> list[int]:
    """The id in a task of each class that is named at `where`.

    Names are those of the classes, or of the folders that `d3data export` makes of them, or the
    numbers from 0 on.

    Raises:
        ArtifactError: they are none of these, or a class is missing.

    >>> ids_of(["bee", "ant"], ["ant", "bee"], "x"), ids_of(["1", "00"], ["a", "b"], "x")
    ([1, 0], [1, 0])
    """
    for spelling in (list(classes), folder_names(classes)):
        if sorted(found) == sorted(spelling):
            return [spelling.index(name) for name in found]
    numbers = [int(name) for name in found if is_number(name)]
    if len(numbers) == len(found) and sorted(numbers) == list(range(len(classes))):
        return numbers
    faults = {
        "has classes that the task has not": set(found) - set(classes),
        "lacks classes that the task has": set(classes) - set(found),
    }
    listed = "; ".join(
        f"{fault}: {some(map(brief, sorted(names)))}" for fault, names in faults.items() if names
    )
    raise ArtifactError(
        f"{where} {listed or 'names a class twice'}. Call its folders as the classes are called, "
        f"or {some(map(brief, folder_names(classes)), at_most=2)} as `d3data export` does, or by "
        f"their numbers from 0 to {len(classes) - 1}"
    )


def is_number(name: str) -> bool:
    """Whether a name is a number in decimal digits."""
    return name.isascii() and name.isdigit() and len(name) < 10
