"""Looking into the Hub's cache on this machine; nothing is written there but by its client.

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
    """The folder of one commit; `root` is the cache that its links may lead to."""

    root: Path
    folder: Path

    @property
    def commit(self) -> str:
        """Whose files are there: 40 hexadecimal digits."""
        return self.folder.name

    @property
    def repository(self) -> str:
        """Whose commit it is."""
        return self.folder.parent.parent.name.removeprefix("datasets--").replace("--", "/")

    def links(self, paths: Iterable[str]) -> dict[str, Path]:
        """The real file of each path that is there.

        Raises:
            IntegrityError: one leads out of the cache.
        """
        root = Path(os.path.realpath(self.root))
        real = {path: Path(os.path.realpath(self.folder / path)) for path in paths}
        for path, file in real.items():
            if not file.is_relative_to(root):
                raise IntegrityError(
                    f"{self.folder / path} leads to {file}, out of the cache {self.root}: "
                    "somebody put it there; remove it, and fetch the set again"
                )
        return {path: file for path, file in real.items() if file.is_file()}

    def missing(self, paths: Iterable[str]) -> list[str]:
        """Those of some paths that are not there."""
        paths = list(paths)
        there = self.links(paths)
        return [path for path in paths if path not in there]


@dataclass(frozen=True)
class Cached:
    """What a cache knows of one repository."""

    root: Path
    repository: str

    @property
    def folder(self) -> Path:
        """Where all of it is."""
        return self.root / f"datasets--{self.repository.replace('/', '--')}"

    def commit(self, ref: str) -> str | None:
        """The commit of a tag or branch when it was last asked for; of a commit, itself."""
        if _COMMIT.fullmatch(ref):
            return ref
        try:
            commit = (self.folder / "refs" / ref).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return commit if _COMMIT.fullmatch(commit) else None

    def versions(self) -> list[str]:
        """The versions whose tags have been asked for."""
        try:
            tags = [ref.name for ref in (self.folder / "refs").iterdir()]
        except OSError:
            return []
        return [found for tag in tags if (found := names.version(tag)) and self.commit(tag)]

    def snapshot(self, commit: str) -> Snapshot:
        """The folder of a commit, whether there is anything in it or not."""
        return Snapshot(self.root, self.folder / "snapshots" / commit)


def snapshot(folder: Path) -> Snapshot | None:
    """The snapshot that a folder is, by its place; None where it is just a folder."""
    folder = Path(os.path.realpath(folder))
    above = folder.parent
    if not (_COMMIT.fullmatch(folder.name) and above.name == "snapshots"):
        return None
    ours = above.parent.name.startswith("datasets--")
    return Snapshot(above.parent.parent, folder) if ours else None
