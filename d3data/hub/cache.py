"""Reading the Hub's cache on this machine; only huggingface_hub writes to it.

    <root>/datasets--org--name/refs/v1.2.0              holds the commit of a tag or a branch
    <root>/datasets--org--name/snapshots/<commit>/...   links to, or is, the files of a commit
    <root>/.../blobs/...                                the files

Source: huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from d3data.errors import IntegrityError
from d3data.hub import names

_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Snapshot:
    """The folder of one commit, whether anything is in it or not."""

    folder: Path

    @classmethod
    def of(cls, root: Path, repository: str, commit: str) -> "Snapshot":
        """The snapshot of a commit in the cache `root`."""
        return cls(_repository(root, repository) / "snapshots" / commit)

    @classmethod
    def at(cls, folder: Path) -> "Snapshot | None":
        """The snapshot that a folder is, by its path; None for any other folder."""
        folder = Path(os.path.realpath(folder))
        parent = folder.parent
        in_cache = parent.name == "snapshots" and parent.parent.name.startswith("datasets--")
        return cls(folder) if in_cache and _COMMIT.fullmatch(folder.name) else None

    @property
    def commit(self) -> str:
        """40 hexadecimal digits."""
        return self.folder.name

    @property
    def repository(self) -> str:
        """The repository of the commit, `org/name`."""
        return self.folder.parents[1].name.removeprefix("datasets--").replace("--", "/")

    def links(self, paths: Iterable[str]) -> dict[str, Path]:
        """The real file of each path that exists.

        Raises:
            IntegrityError: a link leads out of the cache.
        """
        root = Path(os.path.realpath(self.folder.parents[2]))
        real = {path: Path(os.path.realpath(self.folder / path)) for path in paths}
        for path, file in real.items():
            if not file.is_relative_to(root):
                raise IntegrityError(
                    f"{self.folder / path} is a link to {file}, outside of the cache {root}: "
                    "delete it, and download the set again"
                )
        return {path: file for path, file in real.items() if file.is_file()}

    def missing(self, paths: Iterable[str]) -> list[str]:
        """The paths that do not exist."""
        paths = list(paths)
        links = self.links(paths)
        return [path for path in paths if path not in links]


def cached_commit(root: Path, repository: str, ref: str) -> str | None:
    """The commit of a tag or branch when it was last requested; of a commit, itself."""
    if _COMMIT.fullmatch(ref):
        return ref
    try:
        commit = (_repository(root, repository) / "refs" / ref).read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def cached_versions(root: Path, repository: str) -> list[str]:
    """The versions whose tags have been requested, in ascending order."""
    try:
        tags = [ref.name for ref in (_repository(root, repository) / "refs").iterdir()]
    except OSError:
        return []
    known = [tag for tag in tags if cached_commit(root, repository, tag)]
    return sorted(filter(None, map(names.version, known)), key=names.order)


def _repository(root: Path, repository: str) -> Path:
    return root / f"datasets--{repository.replace('/', '--')}"
