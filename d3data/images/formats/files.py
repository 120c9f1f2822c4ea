"""Which files a place holds: the one walk that all readers share, and why a file cannot be read.

Hidden names are left alone, and folders that begin with two underscores (`__MACOSX`), as
`datasets` leaves them. Links are followed. A pipe, a socket or a device is passed by.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from d3data.errors import DataError
from d3data.utils.text import brief, some

_POINTER = b"version https://git-lfs"
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_TEXT = "it is a text file"
_PAGE = (b"<!doctype", b"<html", b"<?xml")


@dataclass(frozen=True)
class Listing:
    """The files and folders below `root`, `/` between names; a folder's files before its folders.

    `passed` are names that are neither, and folders that were left alone, as `hidden` names are.
    """

    root: Path
    files: tuple[str, ...]
    folders: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    hidden: int = 0
    single: bool = False

    @property
    def place(self) -> str:
        """What the user gave: the folder, or the only file."""
        return str(self.root / self.files[0]) if self.single else str(self.root)

    def rest(self, used: Iterable[str]) -> str:
        """A note of how many files of each suffix are not `used`, and what else is passed by."""
        left = [PurePosixPath(file).suffix for file in {*self.files} - {*used}]
        suffixes = Counter(suffix.lower() or "without a suffix" for suffix in left)
        most = sorted(suffixes.items(), key=lambda pair: (-pair[1], pair[0]))
        hidden = [f"{self.hidden} hidden"] if self.hidden else []
        items = [*(f"{count} {suffix}" for suffix, count in most), *self.passed, *hidden]
        return f"left out: {some(items)}" if items else ""

    def ending(self, suffix: str) -> list[str]:
        """The files with a suffix, whatever its case, in order of their names."""
        own = (file for file in self.files if file.lower().endswith(suffix))
        return sorted(own, key=lambda file: file.split("/"))


def walk(place: Path | Listing) -> Listing:
    """All below a folder, or one file; DataError names a loop and what may not be read."""
    if isinstance(place, Listing):
        return place
    if place.is_file():
        return Listing(place.parent, (place.name,), single=True)
    files: list[str] = []
    folders: list[str] = []
    passed: list[str] = []
    seen: dict[tuple[int, int], str] = {}
    hidden, stack = 0, [""]
    while stack:
        folder = stack.pop()
        entries = _entries(place / folder, seen, folder)
        below: list[str] = []
        hidden += sum(entry.name.startswith(".") for entry in entries)
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            kind = _kind(entry)
            {"file": files, "folder": below}.get(kind, passed).append(path)
        folders += below
        stack += reversed(below)
    return Listing(place, tuple(files), tuple(folders), tuple(passed), hidden)


def _entries(folder: Path, seen: dict[tuple[int, int], str], name: str) -> list[os.DirEntry[str]]:
    try:
        info = folder.stat()
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError as failure:
        raise DataError(
            f"{folder} cannot be read ({failure.strerror}): change its permissions or move it"
        ) from None
    first = seen.setdefault((info.st_dev, info.st_ino), name)
    if first != name:
        above = name.startswith(f"{first}/") or not first
        other = "a folder that it lies in" if above else f"{first or '.'}"
        raise DataError(
            f"{folder} is a link to {other}, whose files would be read twice: remove the link"
        )
    for entry in entries:
        try:
            entry.name.encode(errors="replace" if entry.name.startswith(".") else "strict")
        except UnicodeEncodeError:
            raise DataError(
                f"{folder} has a name that is no UTF-8 text, {entry.name!a}: rename it"
            ) from None
    return entries


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_dir():
            return "passed" if entry.name.startswith("__") else "folder"
        if entry.is_file() or not Path(entry.path).exists():
            return "file"  # a link to nowhere is told when it is read
        return "passed"
    except OSError:  # so is one that leads in circles
        return "file"


def unreadable(path: Path, failure: Exception, what: str, *, text: bool = False) -> DataError:
    """The error that says why a file is not `what` it should be, which may be `text`."""
    if isinstance(failure, OSError) and failure.errno is not None and failure.strerror:
        return DataError(f"{path} cannot be read ({failure.strerror}): check its permissions")
    try:
        with path.open("rb") as opened:
            head = opened.read(512)
    except OSError as fault:
        return DataError(f"{path} cannot be read ({fault.strerror})")
    known = diagnosis(head)
    if known and not (text and known.startswith(_TEXT)):
        return DataError(f"{path} is not {what}: {known}")
    if text:
        return DataError(f"{path} cannot be read as {what} ({brief(str(failure))}): correct it")
    return DataError(
        f"{path} is truncated or not {what} ({brief(str(failure))}): copy or fetch it again"
    )


def diagnosis(head: bytes) -> str:
    """What a file is by its first bytes, where that is no data, and what to do; or nothing."""
    if not head:
        return "it is empty; copy or fetch it again"
    if head.startswith(_POINTER):
        return "it is a git-lfs pointer; run `git lfs pull` where it was cloned"
    if head.startswith(_COMPRESSED):
        return "it is compressed; unpack it"
    if head.lstrip().lower().startswith(_PAGE):
        return "it is a web page; fetch the file itself"
    if len(head) > 3 and all(9 <= byte < 127 and (byte >= 32 or byte < 14) for byte in head):
        return f"{_TEXT}; remove it, or give the file that was meant"
    return ""
