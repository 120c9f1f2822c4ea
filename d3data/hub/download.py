"""Files of a commit into the Hub's cache: those that the manifest lists, as it says they are."""

from collections.abc import Collection, Sequence

from d3data.artifact import reference_draws
from d3data.artifact.manifest import NAME, Manifest
from d3data.errors import ArtifactError, IntegrityError, NewerFormatError, NotCachedError
from d3data.hub.cache import Snapshot
from d3data.hub.client import Client
from d3data.hub.local import listed, page_of
from d3data.utils.hashing import file_sha256
from d3data.utils.text import some


def needed(page: Manifest, *, extras: bool = False) -> list[str]:
    """The manifest and what it lists: parts and golden draws, or also the `extras`."""
    parts = [entry.path for entry in page.content.parts]
    others = [entry.path for entry in page.files]
    return [NAME, *parts, *(path for path in others if extras or path == reference_draws.PATH)]


def manifest(snapshot: Snapshot, client: Client, *, name: str, force: bool = False) -> Manifest:
    """The manifest of a commit, fetched where it is not there; twice if it comes broken.

    Args:
        snapshot: the commit.
        client: the Hub.
        name: what the set is asked for by.
        force: fetch it even if it is there.

    Raises:
        HubError: it cannot be fetched.
        ArtifactError: it is broken.
    """
    fetched = force or bool(snapshot.missing([NAME]))
    if fetched:
        client.fetch(snapshot.repository, snapshot.commit, NAME, force=force)
    try:
        return page_of(snapshot, name=name)
    except NewerFormatError:
        raise
    except ArtifactError:
        if not fetched:
            raise
    client.fetch(snapshot.repository, snapshot.commit, NAME, force=True)
    return page_of(snapshot, name=name)


def fetch(
    snapshot: Snapshot,
    page: Manifest,
    paths: Sequence[str],
    client: Client,
    *,
    others: Collection[str] = (),
    force: bool = False,
) -> None:
    """Fetch files, and those once more that do not come as the manifest says.

    Args:
        snapshot: the commit.
        page: its manifest.
        paths: which of the files that it lists.
        client: the Hub.
        others: files that it does not list, and that may not be there.
        force: fetch them even if they are there.

    Raises:
        NotCachedError: nothing may be asked of the Hub.
        HubError: a file cannot be fetched.
        IntegrityError: a file came twice with other bytes.
    """
    repository, commit = snapshot.repository, snapshot.commit
    if client.offline:
        raise NotCachedError(
            f"{repository}: the cache {client.root} has not all of commit {commit}: it lacks "
            f"{some(paths)}; HF_HUB_OFFLINE=1 or local_files_only=True forbids to ask the Hub: "
            "unset it and load the set once"
        )
    client.fetch_all(repository, commit, [*paths, *others], force=force)
    for path in snapshot.missing(paths):
        client.fetch(repository, commit, path)
    for path in _unlike(snapshot, page, paths):
        client.fetch(repository, commit, path, force=True)
    if broken := _unlike(snapshot, page, paths):
        raise IntegrityError(
            f"{repository}: {broken[0]} of commit {commit} came twice with other bytes than its "
            "manifest says: something between here and the Hub changes files, or the commit is "
            "broken; try again, and tell its owner if it stays so"
        )


def _unlike(snapshot: Snapshot, page: Manifest, paths: Sequence[str]) -> list[str]:
    """Those of some paths whose files are not what the manifest says."""
    real = snapshot.links(paths)
    entries = {entry.path: entry for entry in listed(page)}
    return [
        path
        for path in paths
        if (real[path].stat().st_size, file_sha256(real[path]))
        != (entries[path].size, entries[path].sha256)
    ]
