"""Paths as users write them."""

from pathlib import Path

ZOO = Path(__file__).parent.parent / "zoo"  # the sets that come with d3data


def expanded(path: str | Path) -> Path:
    """With the home folder for a leading `~`; as it is where there is no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def from_anywhere(place: str | Path) -> str:
    """A place, as it is found from other folders too; what is no path here stays as it is."""
    return str(Path(place).absolute()) if Path(place).exists() else str(place)


def as_name(folder: Path) -> str:
    """A folder as other commands take it: a relative one begins with a dot.

    >>> as_name(Path("runs/mine")), as_name(Path("../mine")), as_name(Path("/x"))
    ('./runs/mine', '../mine', '/x')
    """
    return str(folder) if folder.parts[:1] in ((folder.anchor,), ("..",), ()) else f"./{folder}"
