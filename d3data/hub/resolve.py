"""From a name to a folder on this machine that holds the whole data set."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from d3data.artifact import reference_draws
from d3data.artifact.manifest import DERIVED, NAME, Manifest
from d3data.errors import (
    AccessError,
    FormatError,
    HubError,
    IntegrityError,
    NotCachedError,
    UnknownNameError,
)
from d3data.hub import index, names
from d3data.hub.cache import Snapshot, find_commit, remember
from d3data.hub.client import DEFAULTS, OFFLINE, Client, HubOptions
from d3data.hub.local import LocalCopy, listed, manifest_of, require_pin
from d3data.hub.names import Folder, Repository, Revision, Short
from d3data.utils.hashing import file_sha256
from d3data.utils.paths import as_name
from d3data.utils.text import some

RUN_S = "artifact"  # the folder of a run that holds what it made


def resolve(
    name: str | Path, options: HubOptions = DEFAULTS, *, extras: bool = False
) -> LocalCopy:
    """The folder of a data set, downloaded and verified where it is not on this machine.

    With `extras` also what training does not need is downloaded: recipe, report, preview, card.
    """
    wanted = names.parse(name, revision=options.revision)
    if isinstance(wanted, Folder):
        return _folder(wanted.path)
    pins, typed = {}, str(wanted)
    if isinstance(wanted, Short):
        found = index.find(wanted.name, options)
        published = _published(found, wanted)
        if isinstance(published, LocalCopy):
            return published
        pins, wanted = found.pins, published
    try:
        return pull(wanted, Client(options), name=typed, pins=pins, extras=extras)
    except HubError as failure:
        if typed != wanted.name or not Path(typed).is_dir():
            raise
        raise type(failure)(f"{failure}; for the folder of that name write ./{typed}") from None


def pull(
    wanted: Repository,
    client: Client,
    *,
    name: str | None = None,
    pins: Mapping[str, str] | None = None,
    extras: bool = False,
) -> LocalCopy:
    """A set of the Hub, all of which is in the cache afterwards.

    A version that is in the cache costs no request. Files that are downloaded have the size and
    sha256 that the manifest lists, or are downloaded once more. `name` is the name it was resolved
    from, `pins` the known `content_sha256` by version; `extras` are not needed to train.
    """
    force = client.options.force_download
    found = find_commit(wanted, client)
    snapshot = Snapshot.of(client.root, wanted.name, found.commit)
    manifest = _manifest(snapshot, client, name=str(wanted))
    version = manifest.about.version
    if names.version(found.ref) not in (None, version):
        raise IntegrityError(
            f"{wanted.name} has version {version} under the tag {found.ref}, which d3data never "
            f"does: tell its owner, or load {wanted.name}@{found.commit}"
        )
    pinned = wanted.revision.kind not in ("branch", "commit")
    pin = (pins or {}).get(version) if pinned else None
    require_pin(manifest, pin, name=name or str(wanted))
    paths = _needed(manifest, extras=extras)
    if missing := paths if force else snapshot.missing(paths):
        _download(snapshot, manifest, missing, client, extras=extras)
    remember(found, wanted, client)
    copy = LocalCopy.of(snapshot, manifest, name=str(wanted))
    return replace(copy, content_sha256=pin)


def _needed(manifest: Manifest, *, extras: bool = False) -> list[str]:
    others = [entry.path for entry in manifest.files]
    return [
        *(entry.path for entry in manifest.content.parts),
        *(path for path in others if extras or path == reference_draws.PATH),
    ]


def _manifest(snapshot: Snapshot, client: Client, *, name: str) -> Manifest:
    """The manifest of a commit, downloaded if it is missing; once more if it comes broken."""
    force = client.options.force_download
    downloads = [force, True] if force or snapshot.missing([NAME]) else []
    for again in downloads:
        client.download(snapshot.repository, snapshot.commit, NAME, force=again)
        with contextlib.suppress(FormatError, IntegrityError):
            return manifest_of(snapshot, name=name)
    return manifest_of(snapshot, name=name)


def _download(
    snapshot: Snapshot, manifest: Manifest, paths: list[str], client: Client, *, extras: bool
) -> None:
    repository, commit = snapshot.repository, snapshot.commit
    if client.offline:
        raise NotCachedError(
            f"{repository}: commit {commit} is incomplete in the cache {client.root}, which lacks "
            f"{some(paths)}; {OFFLINE} and load the set once"
        )
    unlisted = DERIVED if extras else ()
    force = client.options.force_download
    # the Hub may refuse the listing alone, which files do not need
    with contextlib.suppress(*(() if force else (AccessError,))):
        client.download_all(repository, commit, [*paths, *unlisted], force=force)
    for path in snapshot.missing(paths):
        client.download(repository, commit, path)
    for path in _corrupt(snapshot, manifest, paths):
        client.download(repository, commit, path, force=True)
    if corrupt := _corrupt(snapshot, manifest, paths):
        raise IntegrityError(
            f"{repository}: two downloads of {corrupt[0]} of commit {commit} differ from its "
            "manifest: a proxy may change files, or the commit is broken; try again, and tell "
            "its owner if it happens again"
        )


def _corrupt(snapshot: Snapshot, manifest: Manifest, paths: list[str]) -> list[str]:
    entries = {entry.path: (entry.size, entry.sha256) for entry in listed(manifest)}
    real = snapshot.links(paths)
    return [
        path
        for path in paths
        if path not in real
        or (real[path].stat().st_size, file_sha256(real[path])) != entries[path]
    ]


def _folder(path: Path) -> LocalCopy:
    if path.name == NAME and path.is_file():
        raise UnknownNameError(
            f"{path} is a file of a set: write its folder, {as_name(path.parent)}"
        )
    if not path.is_dir():
        known = index.shipped().sets.get(path.name)
        if known is not None and index.Found(path.name, known).shipped:
            raise UnknownNameError(
                f"{as_name(path)} is not a folder: {path.name}, written without a slash, is a set "
                "that comes with d3data"
            )
        raise UnknownNameError(
            f"{as_name(path)} is not a folder: a short name is written without a slash, a data "
            "set of the Hub as org/name"
        )
    if not os.access(path, os.X_OK):
        raise IntegrityError(f"{as_name(path)} cannot be opened: permission denied")
    if not (path / NAME).exists() and (path / RUN_S / NAME).is_file():
        raise UnknownNameError(
            f"{path} is the folder of a run; write that of the set it made, "
            f"{as_name(path / RUN_S)}"
        )
    if (snapshot := Snapshot.at(path)) is None:
        return LocalCopy(path, str(path))
    name = f"{snapshot.repository}@{snapshot.commit}"
    manifest = manifest_of(snapshot, name=name)
    if missing := snapshot.missing(_needed(manifest)):
        raise IntegrityError(
            f"{path} in the Hub's cache lacks {some(missing)}: `d3data pull {name}` "
            "downloads the rest"
        )
    return LocalCopy.of(snapshot, manifest, name=name)


def _published(found: index.Found, wanted: Short) -> Repository | LocalCopy:
    """The set of a short name: in the package, or a repository at the version of the index."""
    entry, revision = found.entry, wanted.revision
    if not found.published:
        raise found.not_published()
    shipped = [entry.version] if found.shipped and entry.version else []
    if found.shipped and revision.kind not in ("branch", "commit") and revision.pick(shipped):
        return LocalCopy(found.shipped, found.name, content_sha256=entry.content_sha256)
    if entry.repository is None:
        raise UnknownNameError(
            f"{found.name} has no {revision.text}: this d3data has {found.name}@{entry.version}"
        )
    if revision.kind == "newest" and entry.version is not None:
        revision = Revision("version", entry.version)
    return Repository(entry.repository, revision)
