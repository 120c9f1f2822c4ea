"""The current files of a repository of the Hub, and the changes that bring others there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from d3data.artifact.manifest import NAME, FileEntry, Manifest, PartEntry, parse
from d3data.errors import ArtifactError, FormatError, NotPublishedError
from d3data.hub.client import Blob, Client, is_same
from d3data.hub.local import listed
from d3data.utils.canonical_json import MOST_BYTES
from d3data.utils.text import some

MAIN = "main"
CARD = "README.md"


@dataclass(frozen=True)
class State:
    """A repository at one moment, at `head`, the commit of the branch main."""

    head: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)  # commits by tag
    tree: Mapping[str, Blob] = field(default_factory=dict)  # files by path
    manifest: Manifest | None = None  # None also if it is broken
    card: str | None = None


@dataclass(frozen=True)
class Change:
    """A change of a file of the branch; `size` is the number of bytes that are sent."""

    path: str
    what: Literal["add", "replace", "delete"]
    size: int


def fetch_state(client: Client, repository: str) -> State:
    """The current state of a repository; at most six requests."""
    refs = client.refs(repository)
    if (head := refs.branches.get(MAIN)) is None:
        raise NotPublishedError(f"{repository} has no branch {MAIN}: create it from any commit")
    tree = client.tree(repository, head)
    card = None
    if CARD in tree:
        try:
            card = client.read(repository, head, CARD, tree[CARD]).decode()
        except UnicodeDecodeError as fault:
            raise FormatError(
                f"the card of {repository} is not UTF-8 ({fault.reason}): save it again as text"
            ) from None
    return State(head, refs.tags, tree, _manifest(client, repository, head, tree), card)


def mismatch(client: Client, repository: str, commit: str, wanted: Manifest) -> str | None:
    """What a commit has instead of the version of this manifest; None if it is that version.

    Its files are compared with its own manifest, which may list another report.
    """
    tree = client.tree(repository, commit)
    manifest = _manifest(client, repository, commit, tree)
    if manifest is None:
        return "nothing that d3data reads"
    if manifest.content_sha256 != wanted.content_sha256:
        return f"content {manifest.content_sha256}"
    if manifest.about.version != wanted.about.version:
        return f"version {manifest.about.version} in its {NAME}"
    lost = [e.path for e in listed(manifest) if not _matches(tree.get(e.path), e)]
    return f"an incomplete set, without {some(lost)}" if lost else None


def changes(state: State, files: Mapping[str, bytes]) -> list[Change]:
    """What brings the branch to hold `files`, and no others of the set that it holds now."""
    sent = [
        Change(path, "replace" if path in state.tree else "add", len(files[path]))
        for path in missing(state.tree, files)
    ]
    ours = [] if state.manifest is None else [entry.path for entry in listed(state.manifest)]
    gone = [path for path in ours if path in state.tree and path not in files]
    return [*sent, *(Change(path, "delete", 0) for path in gone)]


def missing(tree: Mapping[str, Blob], files: Mapping[str, bytes]) -> list[str]:
    """The files that a commit does not hold, byte for byte."""
    return [path for path, content in files.items() if not is_same(tree.get(path), content)]


def _matches(blob: Blob | None, entry: PartEntry | FileEntry) -> bool:
    """Whether a file may be the listed one; of small files only the size can be compared."""
    return blob is not None and blob.size == entry.size and blob.sha256 in (None, entry.sha256)


def _manifest(
    client: Client, repository: str, commit: str, tree: Mapping[str, Blob]
) -> Manifest | None:
    if NAME not in tree or tree[NAME].size > MOST_BYTES:
        return None
    content = client.read(repository, commit, NAME, tree[NAME])
    try:
        return parse(content, where=f"{NAME} of {repository} at {commit}")
    except ArtifactError:
        return None
