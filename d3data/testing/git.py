"""Files, trees and commits under git's own names, so that clients that hash files find the same.

Source: git-scm.com/book, "Git Internals: Git Objects"; the pointer from the LFS specification.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Self

from d3data.testing.refusals import Invalid, NoEntry

FILE, FOLDER = "100644", "40000"  # git's modes
_SEGMENT = re.compile(r"(?!\.{1,2}$|\.git$)[^/\0]+")


def git_name(kind: str, content: bytes) -> str:
    """git's name of a blob, tree or commit: 40 hexadecimal digits.

    >>> git_name("blob", b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    header = f"{kind} {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """The small file that git keeps in place of a large one."""
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    )


@dataclass(frozen=True)
class Entry:
    """A file of a tree; `size` is its own in bytes, whether it is `large` (in LFS) or not."""

    sha256: str
    size: int
    large: bool
    oid: str  # git's name, of the content or of its pointer

    @classmethod
    def of(cls, content: bytes) -> Self:
        sha256 = hashlib.sha256(content).hexdigest()
        return cls(sha256, len(content), False, git_name("blob", content))

    @classmethod
    def in_lfs(cls, sha256: str, size: int) -> Self:
        return cls(sha256, size, True, git_name("blob", pointer(sha256, size)))

    @property
    def etag(self) -> str:
        """The name of downloads: sha256 of large files, git's name of others."""
        return self.sha256 if self.large else self.oid


@dataclass(frozen=True)
class Put:
    """Add or replace a file."""

    path: str
    entry: Entry


@dataclass(frozen=True)
class Delete:
    """Delete a file, or a folder with all that is in it."""

    path: str
    folder: bool = False


Change = Put | Delete


@dataclass(frozen=True)
class Commit:
    """An immutable tree of files with its history, under the name that git would give it."""

    files: Mapping[str, Entry]
    parents: tuple[str, ...]
    date: datetime
    title: str
    author: str
    description: str = ""

    @cached_property
    def folders(self) -> Mapping[str, str]:
        """git's names of all folders that hold files, the root among them as ''."""
        rows: dict[str, list[tuple[str, str, str]]] = {"": []}
        for path, entry in self.files.items():
            folder, _, name = path.rpartition("/")
            rows.setdefault(folder, []).append((name, FILE, entry.oid))
            for parent in parents_of(folder):
                rows.setdefault(parent, [])
        names = {}
        for folder in sorted(rows, key=len, reverse=True):
            listing = sorted(rows[folder], key=lambda row: row[0] + "/" * (row[1] == FOLDER))
            tree = (
                f"{mode} {name}\0".encode() + bytes.fromhex(oid) for name, mode, oid in listing
            )
            names[folder] = git_name("tree", b"".join(tree))
            if folder:
                parent, _, name = folder.rpartition("/")
                rows[parent].append((name, FOLDER, names[folder]))
        return MappingProxyType(names)

    @cached_property
    def id(self) -> str:
        person = f"{self.author} <{self.author}@localhost> {int(self.date.timestamp())} +0000"
        lines = [f"tree {self.folders['']}", *(f"parent {parent}" for parent in self.parents)]
        lines += [f"author {person}", f"committer {person}", ""]
        lines += ["\n\n".join(filter(None, (self.title, self.description)))]
        return git_name("commit", "\n".join(lines).encode())

    def name(self, path: str) -> str | None:
        """git's name of a file or folder; None if there is neither."""
        return self.files[path].oid if path in self.files else self.folders.get(path)


def changed(files: Mapping[str, Entry], changes: Iterable[Change]) -> Mapping[str, Entry]:
    """The files after `changes`, which are applied in order; read-only, in order of their paths.

    NoEntry, if a file or folder to be deleted does not exist; Invalid, if git would not take a
    path, or a file is where a folder is.
    """
    after = dict(files)
    for change in changes:
        path = change.path.removesuffix("/")
        if not all(_SEGMENT.fullmatch(segment) for segment in path.split("/")):
            raise Invalid(f"{path!r} is not a path in a repository")
        if isinstance(change, Put):
            after[path] = change.entry
        elif change.folder:
            kept = {name: after[name] for name in after if not name.startswith(f"{path}/")}
            if len(kept) == len(after):
                raise NoEntry("A folder with this name doesn't exist")
            after = kept
        elif after.pop(path, None) is None:
            raise NoEntry("A file with this name doesn't exist")
    for path in after:
        if folder := next((parent for parent in parents_of(path) if parent in after), None):
            raise Invalid(f"{folder} is a file, so {path} cannot be in it")
    return MappingProxyType(dict(sorted(after.items())))


def parents_of(path: str) -> Iterator[str]:
    """The folders that a path is in, the innermost first."""
    while path := path.rpartition("/")[0]:
        yield path
