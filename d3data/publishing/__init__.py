"""Publishing: an artifact is checked, carded, committed at once, tagged and downloaded again.

    check and render -> look at the repository -> one commit -> tag -> download the tag, verify

Each step first looks whether it is done, so what was cut anywhere is finished by doing it again.
A version is a tag `vX.Y.Z`; it is set after a commit that holds the whole artifact, and it never
moves: nobody sees half a version. The branch main may go on, by new cards and reports of the same
content and by the hands of people, whose files and words stay.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from d3data.errors import AccessError, ConflictError, IntegrityError, NotPublishedError
from d3data.evaluation.report import Report
from d3data.hub import names, remote, resolve
from d3data.hub.client import Client, HubOptions
from d3data.hub.errors import LOG_IN
from d3data.hub.names import Repository, Revision
from d3data.hub.remote import Change, State
from d3data.publishing import steps
from d3data.publishing.release import Release, prepare
from d3data.publishing.steps import Plan, Tell

TRIES = 5  # looks at a repository that somebody else changes all the time


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
    with tempfile.TemporaryDirectory(prefix="d3data-") as cache:
        client = Client(HubOptions(token=token, cache_dir=Path(cache, "seen")))
        release = prepare(folder, repository, client.endpoint, version=version, report=report)
        if dry_run and not client.has_token:
            tell(f"publishing needs a token, and none is set: {LOG_IN}")
        tell(f"{folder} is whole: {release.manifest.about.name} {release.version}")
        created = _open(client, release, private, create=not dry_run, propose=create_pr)
        if created and dry_run:
            return replace(_told(Plan.of(release, State())), created=True, dry_run=True)
        done = replace(_advance(client, release, create_pr, dry_run, tell), created=created)
        if done.commit is not None and not dry_run:
            _verify(release, Client(HubOptions(token=token, cache_dir=Path(cache, "fetched"))))
            tell(f"{release} was downloaded again, and is whole")
    return done


def _open(client: Client, release: Release, private: bool, *, create: bool, propose: bool) -> bool:
    """Make the repository, if it is missing and to be created; whether it was missing.

    Raises:
        AccessError: it is to be private, and is not.
        NotPublishedError: it is missing, and there is something to propose to it.
    """
    try:
        client.refs(release.repository)
        missing = False
    except NotPublishedError as failure:
        missing = True
        if propose:
            raise NotPublishedError(
                f"{failure}; nothing can be proposed to a repository that is not there: without "
                "--create-pr (create_pr=False) it is made"
            ) from None
        if not create:
            return True
        client.create_repo(release.repository, private=private)
    if private and not client.is_private(release.repository):
        raise AccessError(
            f"{release.repository} is public, and this was to be private: nothing was sent; make "
            "it private in its settings first, or choose another name"
        )
    return missing


def _told(plan: Plan) -> Publication:
    page, repository = plan.release.manifest, plan.release.repository
    return Publication(repository, page.about.version, page.content_sha256, changes=plan.changes)


def _advance(
    client: Client, release: Release, create_pr: bool, dry_run: bool, tell: Tell
) -> Publication:
    """Bring the repository to hold the release under its tag; or propose it, or say what to do."""
    for _ in range(TRIES):
        state = remote.fetch_state(client, release.repository)
        tagged = steps.tagged(client, release, state.tags)
        there = client.tree(release.repository, tagged) if tagged is not None else None
        plan = Plan.of(steps.with_report(client, release, state), state, there)
        if tagged is not None:
            plan = _beside_the_tag(plan, tell)
        done = replace(_told(plan), commit=tagged, dry_run=dry_run)
        if dry_run:
            return done
        if create_pr and plan.changes:
            return replace(done, pull_request=steps.propose(client, plan, tell))
        commit = steps.commit(client, plan, tell)
        if commit is not None:
            return replace(done, commit=tagged or steps.tag(client, release, commit, tell))
    raise ConflictError(
        f"{release.repository} was changed {TRIES} times while this was being published: "
        "publish it again when it is quiet"
    )


def _beside_the_tag(plan: Plan, tell: Tell) -> Plan:
    """What is left of a plan whose version is published: nothing, if the branch is ahead of it."""
    there, release = plan.state.manifest, plan.release
    if not plan.changes:
        tell(f"{release} was there already")
    elif there is not None and _is_newer(there.about.version, than=release.version):
        tell(
            f"{release} was there already; main has {there.about.version}, which is newer and "
            "stays: no other card or report of the older version is sent"
        )
        return replace(plan, changes=())
    return plan


def _is_newer(version: str, *, than: str) -> bool:
    return names.order(version) > names.order(than)


def _verify(release: Release, client: Client) -> None:
    """Download the tag as anybody does, into a cache that has nothing, and read all of it."""
    wanted = Repository(release.repository, Revision("version", release.version))
    found = resolve.pull(wanted, client, extras=True).check().manifest
    if found.content_sha256 != release.manifest.content_sha256:
        raise IntegrityError(
            f"{release} came back with content {found.content_sha256}, not "
            f"{release.manifest.content_sha256}: its tag was moved by somebody"
        )
