"""Names to folders: what a name stands for follows from how it is written, never from what exists.

digits-ipc4, digits-ipc4@1.0.0      a short name of the index that is shipped with d3data
./x, ../x, /x, ~/x, or a Path       a folder
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from d3data.errors import IntegrityError, UnknownNameError, nearest
from d3data.frozen import Frozen
from d3data.manifest import Digest, Manifest, Text, Version

ZOO = Path(__file__).parent.parent / "zoo"
INDEX = Path(__file__).with_name("index.json")


class Entry(Frozen):
    """What a short name stands for; `version` and `content_sha256` are null until it is made."""

    about: Text
    version: Version | None
    content_sha256: Digest | None


@dataclass(frozen=True)
class Place:
    """A folder, and the content that must be in it where a name was pinned to one."""

    folder: Path
    content_sha256: str | None = None

    def require(self, manifest: Manifest) -> None:
        """Raise IntegrityError unless the manifest is that of the content that was published."""
        if self.content_sha256 not in (None, manifest.content_sha256):
            raise IntegrityError(
                f"{self.folder} has content {manifest.content_sha256}, but its name was published "
                f"as {self.content_sha256}: reinstall d3data"
            )


@cache
def index() -> dict[str, Entry]:
    """The short names."""
    entries = json.loads(INDEX.read_text(encoding="utf-8"))
    return {name: Entry.parse(entry, where=f"{INDEX}: {name}") for name, entry in entries.items()}


def resolve(name: str | Path) -> Place:
    """The folder that `name` stands for.

    Raises:
        UnknownNameError: it is not a name, not in the index, not made yet, or no such folder.
    """
    if isinstance(name, Path) or re.match(r"(\.{1,2}|~)?/|(\.{1,2}|~)$", name):
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise UnknownNameError(f"{folder} is not a folder; a short name has no slash")
        return Place(folder)
    if "/" in name:
        raise UnknownNameError(
            f"{name!r} is written as a name on the Hugging Face Hub, where this d3data does not "
            f"look; for a folder write ./{name}, after downloading it"
        )
    return _published(*name.partition("@")[::2])


def _published(name: str, version: str) -> Place:
    if name not in index():
        raise UnknownNameError(
            f"no data set is called {name!r}: {nearest(name, index())} "
            f"For a folder write a path: ./{name}"
        )
    entry = index()[name]
    if entry.version is None:
        raise UnknownNameError(
            f"{name} is not made yet: `d3data distill {name} --out runs/{name}` makes it, "
            f"then load ./runs/{name}/artifact"
        )
    if version not in ("", entry.version):
        raise UnknownNameError(
            f"{name} has no version {version}: this d3data has {name}@{entry.version}"
        )
    return Place(ZOO / name, entry.content_sha256)
