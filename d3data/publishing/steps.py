"""The steps of publishing: what to change, one commit or a pull request, a tag."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from d3data import cards
from d3data.artifact.manifest import DERIVED
from d3data.cards.files import CROISSANT
from d3data.errors import ArtifactError, ConflictError, HubError, VersionTakenError
from d3data.evaluation.report import REPORT, read_report
from d3data.hub import remote
from d3data.hub.client import Blob, Client, NewCommit
from d3data.hub.remote import Change, State
from d3data.publishing.release import Release
from d3data.utils.text import some

PULLS = 20  # the open pull requests of which one may propose the same already

Tell = Callable[[str], None]


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
        listed = {path: content for path, content in files.items() if path not in DERIVED}
        if tagged is not None and remote.missing(tagged, listed):
            files[CROISSANT] = cards.moved(files[CROISSANT].decode(), remote.MAIN).encode()
        return cls(release, state, files, tuple(remote.changes(state, files)))


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
        head = client.refs(update.release.repository).branches.get(remote.MAIN)
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
    if not (missing := remote.missing(client.tree(repository, made.commit), update.files)):
        return None
    return HubError(
        f"{repository}: commit {made.commit} was accepted without {some(missing)}: a .gitignore "
        "there leaves out what its rules name; delete these rules, and publish again"
    )


def propose(client: Client, update: Update, tell: Tell) -> str:
    """The address of a pull request with these changes, which may be open already."""
    repository = update.release.repository
    pages = f"{client.endpoint}/datasets/{repository}/discussions"
    for number, commit in client.open_pull_requests(repository, most=PULLS).items():
        if not remote.missing(client.tree(repository, commit), update.files):
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
    if fault := remote.mismatch(client, release.repository, commit, release.manifest):
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
