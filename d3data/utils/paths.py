"""Paths as users write them."""

from pathlib import Path


def expanded(path: str | Path) -> Path:
    """With the home folder for a leading `~`; as it is where there is no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
