"""Publishing: an artifact is checked, carded, committed at once, tagged and downloaded again.

    check and render -> look at the repository -> one commit -> tag -> download the tag, verify

Each step first looks whether it is done, so what was cut anywhere is finished by doing it again.
A version is a tag `vX.Y.Z`; it is set after a commit that holds the whole artifact, and it never
moves: nobody sees half a version. The branch main may go on, by new cards and reports of the same
content and by the hands of people, whose files and words stay.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from d3data.errors import (
    AccessError,
    ConflictError,
    IntegrityError,
    NotPublishedError,
    VersionTakenError,
)
from d3data.evaluation.report import Report
from d3data.hub import names, pulling, remote
from d3data.hub.client import Client, Made
from d3data.hub.names import Repository, Revision
from d3data.hub.remote import Change, State
from d3data.publishing.release import Release, prepare

TRIES = 5  # looks at a repository that somebody else changes all the time
PULLS = 20  # the newest pull requests, of which one may propose the same already

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Publication:
    """What was done; under `dry_run`, what would be.

    Attributes:
        repository: where, `owner/name`.
        version: X.Y.Z.
        content_sha256: what it holds.
        commit: what its tag `vX.Y.Z` names; None while there is no tag.
        changes: of files of the branch; none where all was there.
        pull_request: the page that proposes the changes, where they were not made.
        created: whether there was no repository before.
        dry_run: whether nothing was done.
    """

    repository: str
    version: str
    content_sha256: str
    commit: str | None = None
    changes: tuple[Change, ...] = ()
    pull_request: str | None = None
    created: bool = False
    dry_run: bool = False


def publish(
    folder: str | Path,
    repository: str,
    *,
    version: str | None = None,
    private: bool = False,
    create_pr: bool = False,
    dry_run: bool = False,
    token: str | bool | None = None,
    report: Report | None = None,
    tell: Tell = lambda line: None,
) -> Publication:
    """Publish an artifact as a data set of the Hugging Face Hub.

    What was cut is finished by calling it again. What is there already is not sent again, and the
    same version of other content is refused.

    Args:
        folder: the artifact, which stays as it is.
        repository: `owner/name`; made if it is not there.
        version: what to publish it as; the artifact's own unless given.
        private: only for those with rights; refused where the repository is public.
        create_pr: propose it; calling again after the merge sets the tag.
        dry_run: only say what would be done.
        token: what to show the Hub; what one is logged in with unless given.
        report: what networks reach on it; the artifact's own unless given.
        tell: takes a line about each step.

    Raises:
        ArtifactError: the artifact has a fault, or what came back from the Hub has.
        VersionTakenError: the version was published with other content.
        HubError: the Hub did not do what it was asked; do it again.
    """
    release = prepare(folder, repository, version=version, report=report)
    tell(f"{folder} is whole: {release.manifest.about.name} {release.version}")
    with tempfile.TemporaryDirectory(prefix="d3data-") as cache:
        client = Client(token=token, cache_dir=Path(cache, "seen"))
        created = _open(client, release, private=private, create=not (create_pr or dry_run))
        if created and dry_run:
            return replace(_plan(release, State()), created=True, dry_run=True)
        done = replace(_advance(client, release, create_pr, dry_run, tell), created=created)
        if done.commit is not None and not dry_run:
            _verify(release, Client(token=token, cache_dir=Path(cache, "fetched")))
            tell(f"{release} was downloaded again, and is whole")
    return done


def _open(client: Client, release: Release, *, private: bool, create: bool) -> bool:
    """Make the repository, if it is missing and to be created; whether it was missing.

    Raises:
        AccessError: it is to be private, and is not.
    """
    try:
        client.refs(release.repository)
        missing = False
    except NotPublishedError:
        missing = True
        if not create:
            return True
        client.create(release.repository, private=private)
    if private and not client.is_private(release.repository):
        raise AccessError(
            f"{release.repository} is public, and this was to be private: nothing was sent; make "
            "it private in its settings first, or choose another name"
        )
    return missing


def _plan(release: Release, state: State) -> Publication:
    """What there is to do."""
    page = release.manifest
    changes = remote.changes(state, release.merged(state.card))
    return Publication(
        release.repository, release.version, page.content_sha256, changes=tuple(changes)
    )


def _advance(
    client: Client, release: Release, create_pr: bool, dry_run: bool, tell: Tell
) -> Publication:
    """Bring the repository to hold the release under its tag; or propose it, or say what to do."""
    for _ in range(TRIES):
        state = remote.look(client, release.repository)
        tagged = _tagged(client, release, state.tags)
        plan = replace(_plan(release, state), commit=tagged, dry_run=dry_run)
        if tagged is not None and _is_ahead(state, release):
            plan = replace(plan, changes=())
        if dry_run:
            return plan
        if create_pr and plan.changes:
            return replace(plan, pull_request=_propose(client, release, state, plan.changes, tell))
        commit = _commit(client, release, state, plan.changes, tell)
        if commit is not None:
            return replace(plan, commit=tagged or _tag(client, release, commit, tell))
    raise ConflictError(
        f"{release.repository} was changed {TRIES} times while this was being published: "
        "publish it again when it is quiet"
    )


def _commit(
    client: Client, release: Release, state: State, changes: Sequence[Change], tell: Tell
) -> str | None:
    """The commit that holds the release; None where somebody else was faster."""
    if not changes:
        return state.head
    try:
        made = _change(client, release, state, changes)
    except ConflictError:
        return None
    if not remote.holds(client.tree(release.repository, made.commit), release.merged(state.card)):
        return None
    tell(f"committed {len(changes)} files: {made.commit}")
    return made.commit


def _change(
    client: Client,
    release: Release,
    state: State,
    changes: Sequence[Change],
    *,
    create_pr: bool = False,
) -> Made:
    files = release.merged(state.card)
    return client.change(
        release.repository,
        parent=state.head,
        put={change.path: files[change.path] for change in changes if change.what != "delete"},
        delete=[change.path for change in changes if change.what == "delete"],
        message=f"{release.manifest.about.name} {release.version}",
        create_pr=create_pr,
    )


def _propose(
    client: Client, release: Release, state: State, changes: Sequence[Change], tell: Tell
) -> str:
    """The page of a pull request of these changes, which may be there already."""
    pulls = client.refs(release.repository, pulls=True).pulls
    newest = sorted(pulls, key=lambda ref: int(ref.rpartition("/")[2]), reverse=True)
    files = release.merged(state.card)
    for ref in newest[:PULLS]:
        if remote.holds(client.tree(release.repository, pulls[ref]), files):
            number = ref.rpartition("/")[2]
            tell(f"pull request {number} proposes this already")
            return f"{client.endpoint}/datasets/{release.repository}/discussions/{number}"
    page = _change(client, release, state, changes, create_pr=True).pull_request
    tell(f"proposed {len(changes)} files: {page}; publish again after the merge to set the tag")
    return str(page)


def _tagged(client: Client, release: Release, tags: Mapping[str, str]) -> str | None:
    """The commit of the version, where it is published; None where it is not.

    Raises:
        VersionTakenError: it has other content.
    """
    if (commit := tags.get(release.tag)) is None:
        return None
    there = remote.manifest_at(client, release.repository, commit)
    digest = there.content_sha256 if there else "nothing that d3data reads"
    if digest != release.manifest.content_sha256:
        raise VersionTakenError(
            f"{release} is published with content {digest}, and this has content "
            f"{release.manifest.content_sha256}: versions never change; publish this as another, "
            "with --version"
        )
    return commit


def _is_ahead(state: State, release: Release) -> bool:
    """Whether the branch has a newer version, which stays there."""
    if state.manifest is None:
        return False
    return names.order(state.manifest.about.version) > names.order(release.version)


def _tag(client: Client, release: Release, commit: str, tell: Tell) -> str:
    """Set the tag, unless somebody else just did; the commit that it names."""
    try:
        client.tag(release.repository, release.tag, commit)
    except ConflictError:
        there = _tagged(client, release, client.refs(release.repository).tags)
        if there is None:
            raise
        return there
    tell(f"tagged {release.tag}")
    return commit


def _verify(release: Release, client: Client) -> None:
    """Download the tag as anybody does, into a cache that has nothing, and read all of it."""
    wanted = Repository(release.repository, Revision("version", release.version))
    found = pulling.pull(wanted, client, extras=True).check().manifest
    if found.content_sha256 != release.manifest.content_sha256:
        raise IntegrityError(
            f"{release} came back with content {found.content_sha256}, not "
            f"{release.manifest.content_sha256}: its tag was moved by somebody"
        )
