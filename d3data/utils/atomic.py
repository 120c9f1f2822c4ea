"""Files and folders that are replaced as a whole or not at all."""

import contextlib
import errno
import json
import os
import secrets
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from d3data.errors import ArtifactError, D3DataError, RunError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on leaving, fsync it and rename it to `path`.

    RunError where the disk is full or the folder cannot be written; `path` is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        temporary.touch(exist_ok=False)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as failure:
        raise _cannot_write(path, failure, RunError) from failure


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON atomically."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` hold exactly `files`, by relative path: written beside it, then renamed.

    ArtifactError where the disk is full or the folder cannot be written; it is as it was.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
            new, old = Path(name, "new"), Path(name, "old")
            for path, content in files.items():
                (new / path).parent.mkdir(parents=True, exist_ok=True)
                (new / path).write_bytes(content)
                _sync(new / path)
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
        raise _cannot_write(folder, failure, ArtifactError) from failure


def file_sizes(folder: Path) -> dict[str, int]:
    """The size of every file below `folder`, by relative path; symbolic links are left out."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def require_replaceable(folder: Path, marker: str, known: Collection[str]) -> None:
    """Raise ArtifactError if replacing `folder` would delete a file that d3data did not write.

    It may be missing or empty, or hold `marker` and files of `known` relative paths only.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ArtifactError(f"{folder} is not a folder; choose another place or move it away")
    files = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    }
    if files and marker not in files:
        raise ArtifactError(
            f"{folder} is not empty and is not an artifact (it has no {marker}); nothing was "
            "written: choose another folder or empty it"
        )
    if foreign := sorted(files - set(known)):
        raise ArtifactError(
            f"{folder} holds {foreign[0]}, which is not a file of the artifact; "
            "move it away first, because the whole folder is replaced"
        )


def _sync(path: Path) -> None:
    """Bring a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full(failure: OSError) -> bool:
    """Whether there is no room, or none is left to this user."""
    return failure.errno in (errno.ENOSPC, errno.EDQUOT)


def _cannot_write(path: Path, failure: OSError, error: type[D3DataError]) -> D3DataError:
    return error(
        f"cannot write {path}: {failure.strerror or failure}; what was there is unchanged: "
        f"{'free some space or ' * is_full(failure)}choose another folder, then repeat"
    )
