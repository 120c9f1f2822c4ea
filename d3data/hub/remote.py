"""What a repository of the Hub has now, and what it takes to make it have something else."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from d3data.errors import ArtifactError, FormatError, IntegrityError, NotPublishedError
from d3data.hub.client import Blob, Client
from d3data.hub.places import listed
from d3data.manifest import NAME, Manifest, parse

MAIN = "main"
CARD = "README.md"


@dataclass(frozen=True)
class State:
    """A repository at one moment.

    Attributes:
        head: the commit of the branch main.
        tags: commits by tag.
        tree: the files of `head`, by path.
        manifest: what of them is a set; None where there is none, or a broken one.
        card: the README of `head`; None where there is none.
    """

    head: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    tree: Mapping[str, Blob] = field(default_factory=dict)
    manifest: Manifest | None = None
    card: str | None = None


@dataclass(frozen=True)
class Change:
    """What is done to a file of the branch; `size` in bytes is that of what is sent."""

    path: str
    what: Literal["add", "replace", "delete"]
    size: int


def look(client: Client, repository: str) -> State:
    """What a repository has now; at most six requests.

    Raises:
        NotPublishedError: there is none, as far as one may see.
        FormatError: its card is no text.
    """
    refs = client.refs(repository)
    if (head := refs.branches.get(MAIN)) is None:
        raise NotPublishedError(f"{repository} has no branch {MAIN}: make one from any commit")
    tree = client.tree(repository, head)
    card = None
    if CARD in tree:
        try:
            card = _content(client, repository, head, CARD, tree).decode()
        except UnicodeDecodeError as fault:
            raise FormatError(
                f"the card of {repository} is not UTF-8 ({fault.reason}): save it again as text"
            ) from None
    return State(head, refs.tags, tree, _manifest(client, repository, head, tree), card)


def manifest_at(client: Client, repository: str, commit: str) -> Manifest | None:
    """The manifest of a commit; None where it has none, or a broken one."""
    return _manifest(client, repository, commit, client.tree(repository, commit))


def _manifest(
    client: Client, repository: str, commit: str, tree: Mapping[str, Blob]
) -> Manifest | None:
    if NAME not in tree:
        return None
    page = _content(client, repository, commit, NAME, tree)
    try:
        return parse(page, where=f"{NAME} of {repository} at {commit}")
    except ArtifactError:
        return None


def _content(
    client: Client, repository: str, commit: str, path: str, tree: Mapping[str, Blob]
) -> bytes:
    """A file of the repository, once more if it comes with other bytes than it has there."""
    content = client.fetch(repository, commit, path).read_bytes()
    if not is_same(tree[path], content):
        content = client.fetch(repository, commit, path, force=True).read_bytes()
    if not is_same(tree[path], content):
        raise IntegrityError(
            f"{path} of {repository} came twice with other bytes than the Hub says: something on "
            "the way changes files; try again"
        )
    return content


def changes(state: State, files: Mapping[str, bytes]) -> list[Change]:
    """What brings the branch to hold `files`, and no others of the set that it holds now."""
    found = [
        Change(path, "replace" if path in state.tree else "add", len(content))
        for path, content in files.items()
        if not is_same(state.tree.get(path), content)
    ]
    ours = [] if state.manifest is None else [entry.path for entry in listed(state.manifest)]
    gone = [path for path in ours if path in state.tree and path not in files]
    return [*found, *(Change(path, "delete", 0) for path in gone)]


def holds(tree: Mapping[str, Blob], files: Mapping[str, bytes]) -> bool:
    """Whether all of some files are in a commit, byte for byte."""
    return all(is_same(tree.get(path), content) for path, content in files.items())


def is_same(blob: Blob | None, content: bytes) -> bool:
    """Whether a file of a repository is this one."""
    if blob is None or blob.size != len(content):
        return False
    if blob.sha256 is not None:
        return blob.sha256 == hashlib.sha256(content).hexdigest()
    head = b"blob %d\0" % len(content)  # what git names files by
    return blob.oid == hashlib.sha1(head + content, usedforsecurity=False).hexdigest()
