"""What a repository of the Hub has now, and what it takes to make it have something else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from d3data.artifact.manifest import NAME, FileEntry, Manifest, PartEntry, parse
from d3data.errors import ArtifactError, FormatError, NotPublishedError
from d3data.hub import blobs
from d3data.hub.blobs import Blob, is_same
from d3data.hub.client import Client
from d3data.hub.local import listed
from d3data.utils.canonical_json import MOST_BYTES
from d3data.utils.text import some

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
        FormatError: its card is no text, or has more than 4 MiB.
    """
    refs = client.refs(repository)
    if (head := refs.branches.get(MAIN)) is None:
        raise NotPublishedError(f"{repository} has no branch {MAIN}: make one from any commit")
    tree = client.tree(repository, head)
    card = None
    if CARD in tree:
        try:
            card = blobs.read(client, repository, head, CARD, tree[CARD]).decode()
        except UnicodeDecodeError as fault:
            raise FormatError(
                f"the card of {repository} is not UTF-8 ({fault.reason}): save it again as text"
            ) from None
    return State(head, refs.tags, tree, _manifest(client, repository, head, tree), card)


def fault_of(client: Client, repository: str, commit: str, page: Manifest) -> str | None:
    """What a commit has that is not the version of this page; None where it is that version.

    Its files are compared with its own page, which may list another report.
    """
    tree = client.tree(repository, commit)
    there = _manifest(client, repository, commit, tree)
    if there is None:
        return "nothing that d3data reads"
    if there.content_sha256 != page.content_sha256:
        return f"content {there.content_sha256}"
    if there.about.version != page.about.version:
        return f"version {there.about.version} in its {NAME}"
    lost = [entry.path for entry in listed(there) if not _fits(tree.get(entry.path), entry)]
    return f"half a set, without its own {some(lost)}" if lost else None


def _fits(blob: Blob | None, entry: PartEntry | FileEntry) -> bool:
    """Whether a file may be what a page lists; git's name alone does not tell."""
    if blob is None or blob.size != entry.size:
        return False
    return blob.sha256 in (None, entry.sha256)


def _manifest(
    client: Client, repository: str, commit: str, tree: Mapping[str, Blob]
) -> Manifest | None:
    if NAME not in tree or tree[NAME].size > MOST_BYTES:
        return None
    page = blobs.read(client, repository, commit, NAME, tree[NAME])
    try:
        return parse(page, where=f"{NAME} of {repository} at {commit}")
    except ArtifactError:
        return None


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


def missing(tree: Mapping[str, Blob], files: Mapping[str, bytes]) -> list[str]:
    """Those of some files that are not in a commit, byte for byte."""
    return [path for path, content in files.items() if not is_same(tree.get(path), content)]
