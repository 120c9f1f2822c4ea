"""Publishing: an artifact is checked, carded, committed at once, tagged and downloaded again.

    check and render -> read the repository -> one commit -> tag -> download the tag, verify

Each step first looks whether it is done, so publishing that was interrupted is finished by running
it again. A version is a tag `vX.Y.Z`; it is set after a commit that holds the whole artifact, and
it never moves: nobody sees half a version. The branch main may change, by new cards and reports of
the same content and by people, whose files and words stay.
"""

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from d3data.data.sets import AnySet
from d3data.errors import (
    AccessError,
    ConflictError,
    IntegrityError,
    NotPublishedError,
    UnreachableError,
)
from d3data.evaluation.report import Report
from d3data.hub import names, resolve
from d3data.hub.client import Client, HubOptions
from d3data.hub.errors import LOG_IN
from d3data.hub.names import Repository, Revision
from d3data.publishing import steps
from d3data.publishing.release import Release, prepare
from d3data.publishing.steps import Change, State, Tell, Update
from d3data.utils.packages import naming_packages
from d3data.utils.progress import Progress, ReportProgress, ignore
from d3data.utils.renamed import renamed

TRIES = 5  # at a repository that somebody else changes at the same time


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


def _telling(tell: Callable[[str], None]) -> ReportProgress:
    """A `progress=` for a function of lines, which `tell=` was."""
    return lambda at: tell(at.message)


@naming_packages()
@renamed(folder="dataset", tell="progress", convert={"tell": _telling})
def publish(
    dataset: AnySet,
    repository: str,
    *,
    version: str | None = None,
    private: bool = False,
    create_pr: bool = False,
    dry_run: bool = False,
    token: str | bool | None = None,
    report: Report | None = None,
    progress: ReportProgress = ignore,
) -> Publication:
    """Publish an artifact as a data set of the Hugging Face Hub.

    If interrupted, call it again. What is there already is not sent again, and the same version
    with other content is refused.

    Args:
        dataset: a set that was loaded, an artifact, a name or a folder; it stays as it is.
        repository: `owner/name`; created if it is missing.
        version: what to publish it as; the artifact's own by default.
        private: create a private repository; refused where it is public.
        create_pr: open a pull request; calling again after the merge sets the tag.
        dry_run: only say what would be done.
        token: of the Hub; by default that of `hf auth login`.
        report: what networks reach on it; the artifact's own by default.
        progress: called after each step, with a `message` about it.

    Raises:
        ArtifactError: the artifact has a fault, or what came back from the Hub has.
        VersionTakenError: the version was published with other content.
        HubError: the Hub did not do what it was asked; try again.
    """
    tell = _numbered(progress)
    with tempfile.TemporaryDirectory(prefix="d3data-") as cache:
        client = Client(HubOptions(token=token, cache_dir=Path(cache, "seen")))
        release = prepare(dataset, repository, client.endpoint, version=version, report=report)
        if dry_run and not client.has_token:
            tell(f"publishing needs a token, and none is set: {LOG_IN}")
        tell(
            f"{release.artifact.folder} verified: {release.manifest.about.name} {release.version}"
        )
        whole = replace(_publication(Update.of(release, State())), dry_run=True)
        try:
            created = _open(client, release, private, create=not dry_run, propose=create_pr)
        except UnreachableError as failure:
            if not dry_run:
                raise
            tell(f"not compared with what is published: {failure}")
            return whole
        if created and dry_run:
            return replace(whole, created=True)
        done = replace(_advance(client, release, create_pr, dry_run, tell), created=created)
        if done.commit is not None and not dry_run:
            _verify(release, Client(HubOptions(token=token, cache_dir=Path(cache, "fetched"))))
            tell(f"{release} was downloaded again and verified")
    return done


def _numbered(progress: ReportProgress) -> Tell:
    """A function of lines that reports each as the next step; nobody knows how many there are."""
    steps = itertools.count(1)
    return lambda line: progress(Progress("publish", next(steps), event="note", message=line))


def _open(client: Client, release: Release, private: bool, *, create: bool, propose: bool) -> bool:
    """Create the repository, if it is missing and to be created; whether it was missing."""
    missing = False
    try:
        client.refs(release.repository)
    except NotPublishedError as failure:
        missing = True
        if propose:
            raise NotPublishedError(
                f"{failure}; a pull request needs a repository: without --create-pr "
                "(create_pr=False) it is created"
            ) from None
        if not create:
            return True
        client.create_repo(release.repository, private=private)
    if private and not client.is_private(release.repository):
        raise AccessError(
            f"{release.repository} is public, but --private was given: nothing was sent; make it "
            "private in its settings first, or choose another name"
        )
    return missing


def _publication(update: Update) -> Publication:
    release, content = update.release, update.release.manifest.content_sha256
    return Publication(release.repository, release.version, content, changes=update.changes)


def _advance(
    client: Client, release: Release, create_pr: bool, dry_run: bool, tell: Tell
) -> Publication:
    """Bring the repository to hold the release under its tag; or propose it, or say what to do."""
    for _ in range(TRIES):
        state = steps.fetch_state(client, release.repository)
        tagged = steps.tagged(client, release, state.tags)
        files = client.tree(release.repository, tagged) if tagged is not None else None
        update = Update.of(steps.with_report(client, release, state), state, files)
        if tagged is not None:
            update = _after_the_tag(update, tell)
        done = replace(_publication(update), commit=tagged, dry_run=dry_run)
        if dry_run:
            return done
        if create_pr and update.changes:
            return replace(done, pull_request=steps.propose(client, update, tell))
        commit = steps.commit(client, update, tell)
        if commit is not None:
            return replace(done, commit=tagged or steps.tag(client, release, commit, tell))
    raise ConflictError(
        f"{release.repository} was changed {TRIES} times while this was being published: "
        "publish it again once nobody else changes it"
    )


def _after_the_tag(update: Update, tell: Tell) -> Update:
    """The update of a published version: nothing where the branch has a newer version."""
    branch, release = update.state.manifest, update.release
    if not update.changes:
        tell(f"{release} is published already")
    elif branch and names.order(branch.about.version) > names.order(release.version):
        tell(
            f"{release} is published already; main has {branch.about.version}, which is newer and "
            "stays: no other card or report of the older version is sent"
        )
        return replace(update, changes=())
    return update


def _verify(release: Release, client: Client) -> None:
    """Download the tag as anybody does, into an empty cache, and verify all of it."""
    wanted = Repository(release.repository, Revision("version", release.version))
    manifest = resolve.pull(wanted, client, extras=True).check().manifest
    if manifest.content_sha256 != release.manifest.content_sha256:
        raise IntegrityError(
            f"{release} came back with content {manifest.content_sha256}, not "
            f"{release.manifest.content_sha256}: its tag was moved by somebody"
        )
