"""Files as a repository lists them, and fetched as they are listed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from d3data.errors import FormatError, IntegrityError
from d3data.utils.canonical_json import MOST_BYTES

if TYPE_CHECKING:
    from d3data.hub.client import Client


@dataclass(frozen=True)
class Blob:
    """A file in a repository: its size in bytes, and git's name or, if large, its sha256."""

    size: int
    oid: str
    sha256: str | None


def is_same(blob: Blob | None, content: bytes) -> bool:
    """Whether a file of a repository is this one."""
    if blob is None or blob.size != len(content):
        return False
    if blob.sha256 is not None:
        return blob.sha256 == hashlib.sha256(content).hexdigest()
    head = b"blob %d\0" % len(content)  # what git names files by
    return blob.oid == hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def read(client: "Client", repository: str, commit: str, path: str, blob: Blob) -> bytes:
    """A page of a repository, once more if it comes with other bytes than it has there.

    Raises:
        HubError: it cannot be fetched.
        FormatError: it has more than 4 MiB.
        IntegrityError: it came twice with other bytes.
    """
    if blob.size > MOST_BYTES:
        raise FormatError(
            f"{path} of {repository} has {blob.size} bytes, and at most {MOST_BYTES} are read: "
            "it is no page that d3data made; put a shorter one there"
        )
    for force in (False, True):
        content = bounded(client.fetch(repository, commit, path, force=force))
        if is_same(blob, content):
            return content
    raise IntegrityError(
        f"{path} of {repository} came twice with other bytes than the Hub says: something on "
        "the way changes files; try again"
    )


def bounded(path: Path) -> bytes:
    """A file, or so much of it as shows that it has more bytes than are read of a page."""
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)
