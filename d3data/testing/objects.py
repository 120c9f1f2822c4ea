"""Contents and their names: what git calls blobs, trees and commits, and what LFS calls objects.

Names are git's own, so that a client which hashes files itself finds the same ones.
Source: git-scm.com/book, "Git Internals: Git Objects"; the pointer from the LFS specification.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

FILE, FOLDER = "100644", "40000"  # git's modes


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
    oid: str  # git's name, of the content or of the pointer that stands for it

    @classmethod
    def of(cls, content: bytes) -> Self:
        """A file that git holds itself."""
        sha256 = hashlib.sha256(content).hexdigest()
        return cls(sha256, len(content), False, git_name("blob", content))

    @classmethod
    def in_lfs(cls, sha256: str, size: int) -> Self:
        """A file that git holds a pointer to."""
        return cls(sha256, size, True, git_name("blob", pointer(sha256, size)))

    @property
    def etag(self) -> str:
        """What downloads are named by: sha256 of large files, git's name of others."""
        return self.sha256 if self.large else self.oid


class Blobs:
    """Contents by their sha256; what is put twice is kept once."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def __getitem__(self, sha256: str) -> bytes:
        return self._contents[sha256]

    def __len__(self) -> int:
        return len(self._contents)

    def put(self, content: bytes) -> str:
        """Keep `content` and tell its sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        self._contents.setdefault(sha256, bytes(content))
        return sha256


def folders(files: Mapping[str, Entry]) -> dict[str, str]:
    """git's names of all folders that hold `files`, the root among them as ''."""
    listings: dict[str, list[tuple[str, str, str]]] = defaultdict(list, {"": []})
    for path, entry in files.items():
        folder, _, name = path.rpartition("/")
        listings[folder].append((name, FILE, entry.oid))
        while folder and (folder := folder.rpartition("/")[0]) not in listings:
            listings[folder] = []
    names = {}
    for folder in sorted(listings, key=lambda path: -len(path)):
        names[folder] = _tree_name(listings[folder])
        if folder:
            parent, _, name = folder.rpartition("/")
            listings[parent].append((name, FOLDER, names[folder]))
    return names


def _tree_name(listing: list[tuple[str, str, str]]) -> str:
    ordered = sorted(listing, key=lambda row: f"{row[0]}/" if row[1] == FOLDER else row[0])
    rows = (f"{mode} {name}\0".encode() + bytes.fromhex(oid) for name, mode, oid in ordered)
    return git_name("tree", b"".join(rows))
