"""The steps of publishing: read the repository, commit or propose what it lacks, set the tag."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from d3data import cards
from d3data.artifact.manifest import DERIVED, NAME, FileEntry, Manifest, PartEntry, parse
from d3data.artifact.summary import CARD
from d3data.cards.files import CROISSANT
from d3data.errors import (
    ArtifactError,
    ConflictError,
    FormatError,
    HubError,
    NotPublishedError,
    VersionTakenError,
)
from d3data.evaluation.report import REPORT, read_report
from d3data.hub.client import Blob, Client, NewCommit, is_same
from d3data.hub.local import listed
from d3data.publishing.release import Release
from d3data.utils.canonical_json import MOST_BYTES
from d3data.utils.text import some

MAIN = "main"
PULLS = 20  # the open pull requests of which one may propose the same already

Tell = Callable[[str], None]


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


@dataclass(frozen=True)
class Update:
    """The changes that make a repository hold the files of a release."""

    release: Release
    state: State
    files: Mapping[str, bytes]
    changes: tuple[Change, ...]

    @classmethod
    def of(cls, release: Release, state: State, tagged: Mapping[str, Blob] | None = None) -> Self:
        """The update of a repository; `tagged` are the files of the version, if it is published.

        If the branch gets others, Croissant has the addresses of the branch.
        """
        files = release.merged(state.card)
        fixed = {path: content for path, content in files.items() if path not in DERIVED}
        if tagged is not None and missing(tagged, fixed):
            files[CROISSANT] = cards.moved(files[CROISSANT].decode(), MAIN).encode()
        return cls(release, state, files, tuple(_changes(state, files)))


def with_report(client: Client, release: Release, state: State) -> Release:
    """The release; where it has no report, with the one of its content that the branch has."""
    if REPORT in release.files or REPORT not in state.tree:
        return release
    stored = client.read(release.repository, state.head, REPORT, state.tree[REPORT])
    try:
        report = read_report(stored, where=REPORT)
    except ArtifactError:  # a file of somebody's own
        return release
    ours = report.content_sha256 == release.manifest.content_sha256
    return release.reported(report) if ours else release


def commit(client: Client, update: Update, tell: Tell) -> str | None:
    """The commit that holds the release; None where somebody else was faster."""
    if not update.changes:
        return update.state.head
    try:
        made = _change(client, update)
    except ConflictError:
        return None
    if lost := _lost(client, update, made):
        head = client.refs(update.release.repository).branches.get(MAIN)
        if head != made.commit:
            return None
        raise lost
    tell(f"committed {len(update.changes)} files: {made.commit}")
    return made.commit


def _change(client: Client, update: Update, *, create_pr: bool = False) -> NewCommit:
    return client.create_commit(
        update.release.repository,
        {change.path: update.files.get(change.path) for change in update.changes},
        parent=update.state.head,
        message=f"{update.release.manifest.about.name} {update.release.version}",
        create_pr=create_pr,
    )


def _lost(client: Client, update: Update, made: NewCommit) -> HubError | None:
    """The error where a commit lacks files of an update; None where it has all."""
    repository = update.release.repository
    if not (lost := missing(client.tree(repository, made.commit), update.files)):
        return None
    return HubError(
        f"{repository}: commit {made.commit} was accepted without {some(lost)}: a .gitignore "
        "there leaves out what its rules name; delete these rules, and publish again"
    )


def propose(client: Client, update: Update, tell: Tell) -> str:
    """The address of a pull request with these changes, which may be open already."""
    repository = update.release.repository
    pages = f"{client.endpoint}/datasets/{repository}/discussions"
    for number, commit in client.open_pull_requests(repository, most=PULLS).items():
        if not missing(client.tree(repository, commit), update.files):
            tell(f"pull request {number} has these changes already")
            return f"{pages}/{number}"
    made = _change(client, update, create_pr=True)
    if (page := made.pull_request) is None:
        raise HubError(f"{repository}: the Hub gave no address of the pull request: see {pages}")
    if lost := _lost(client, update, made):
        raise lost
    tell(
        f"pull request with {len(update.changes)} files: {page}; publish again after the merge to "
        "set the tag"
    )
    return page


def tagged(client: Client, release: Release, tags: Mapping[str, str]) -> str | None:
    """The commit of the version, None where it is not published; or VersionTakenError."""
    if (commit := tags.get(release.tag)) is None:
        return None
    if fault := _mismatch(client, release.repository, commit, release.manifest):
        raise VersionTakenError(
            f"{release} is published with {fault}, and this has content "
            f"{release.manifest.content_sha256}: versions never change; publish this as another, "
            "with --version"
        )
    return commit


def tag(client: Client, release: Release, commit: str, tell: Tell) -> str:
    """Set the tag, unless somebody else just did; the commit that it names."""
    try:
        client.create_tag(release.repository, release.tag, commit)
    except ConflictError:
        other = tagged(client, release, client.refs(release.repository).tags)
        if other is None:
            raise
        return other
    tell(f"tagged {release.tag}")
    return commit


def _mismatch(client: Client, repository: str, commit: str, wanted: Manifest) -> str | None:
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


def _changes(state: State, files: Mapping[str, bytes]) -> list[Change]:
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
