"""What a commit changes, and what it is: a whole tree under git's name."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from d3data.testing.objects import Entry, folders, git_name
from d3data.testing.refusals import Invalid, NoEntry

_SEGMENT = re.compile(r"(?!\.{1,2}$|\.git$)[^/\0]+")


@dataclass(frozen=True)
class Put:
    """Add or replace a file."""

    path: str
    entry: Entry


@dataclass(frozen=True)
class Delete:
    """Take away a file, or a folder with all that is in it."""

    path: str
    folder: bool = False


Change = Put | Delete


@dataclass(frozen=True)
class Commit:
    """A tree of files with its history; nothing of it changes once it is made."""

    id: str
    parents: tuple[str, ...]
    files: Mapping[str, Entry]
    folders: Mapping[str, str]
    title: str
    description: str
    author: str
    date: datetime


def seal(
    files: Mapping[str, Entry],
    *,
    parents: tuple[str, ...],
    title: str,
    description: str,
    author: str,
    date: datetime,
) -> Commit:
    """The commit of a tree, under the name that git would give it."""
    names = folders(files)
    person = f"{author} <{author}@localhost> {int(date.timestamp())} +0000"
    lines = [
        f"tree {names['']}",
        *(f"parent {parent}" for parent in parents),
        f"author {person}",
        f"committer {person}",
        "",
        "\n\n".join(filter(None, (title, description))),
    ]
    return Commit(
        id=git_name("commit", "\n".join(lines).encode()),
        parents=parents,
        files=MappingProxyType(dict(sorted(files.items()))),
        folders=MappingProxyType(names),
        title=title,
        description=description,
        author=author,
        date=date,
    )


def changed(files: Mapping[str, Entry], changes: Iterable[Change]) -> dict[str, Entry]:
    """The files after `changes`, which come one after the other.

    Raises:
        NoEntry: what is to be deleted is not there.
        Invalid: a path that git would not take, or a file where a folder is.
    """
    after = dict(files)
    for change in changes:
        path = _path(change.path)
        if isinstance(change, Put):
            after[path] = change.entry
        elif change.folder:
            gone = [name for name in after if name.startswith(f"{path}/")]
            if not gone:
                raise NoEntry("A folder with this name doesn't exist")
            for name in gone:
                del after[name]
        elif after.pop(path, None) is None:
            raise NoEntry("A file with this name doesn't exist")
    for path in after:
        if above := next((folder for folder in _above(path) if folder in after), None):
            raise Invalid(f"{above} is a file, so {path} cannot be in it")
    return after


def _path(path: str) -> str:
    path = path.removesuffix("/")
    if not all(_SEGMENT.fullmatch(segment) for segment in path.split("/")):
        raise Invalid(f"{path!r} is not a path in a repository")
    return path


def _above(path: str) -> Iterable[str]:
    while path := path.rpartition("/")[0]:
        yield path
