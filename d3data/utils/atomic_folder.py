"""A folder that is there whole or not at all."""

import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from d3data.errors import ArtifactError


def replace(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` hold exactly `files`, by path: built beside it, synced, then renamed.

    Raises:
        ArtifactError: the disk is full or the place cannot be written; what was there still is.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
            new, old = Path(name, "new"), Path(name, "old")
            for path, content in files.items():
                _write(new / path, content)
            for place, _, _ in os.walk(new):
                _sync(Path(place))
            if folder.exists():
                folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
        _sync(folder.parent)
    except OSError as failure:
        raise ArtifactError(
            f"cannot write {folder}: {failure.strerror or failure}; what was there is unchanged: "
            "free some space or choose another folder, then repeat"
        ) from failure


def sizes(folder: Path) -> dict[str, int]:
    """The size of every file below `folder`, by relative path; links count for nothing."""
    found = {}
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if path.is_file() and not path.is_symlink():
                found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return found


def require_ours(folder: Path, marker: str, known: Collection[str]) -> None:
    """Raise ArtifactError if replacing `folder` would lose what nobody but its owner can restore.

    It may be absent or empty, or hold `marker` and files of `known` paths only.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ArtifactError(f"{folder} is not a folder; choose another place or move it away")
    found = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    }
    if found and marker not in found:
        raise ArtifactError(
            f"{folder} holds something else than an artifact, and stays as it is; "
            "choose another folder or empty it"
        )
    if foreign := sorted(found - set(known)):
        raise ArtifactError(
            f"{folder} holds {foreign[0]}, which is no file of the artifact; "
            "move it away first, as the folder is replaced as a whole"
        )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
