"""From a name to a place on this machine where all of the set is."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from d3data.artifact.manifest import DERIVED, NAME
from d3data.errors import HubError, IntegrityError, UnknownNameError
from d3data.hub import cache, download, index, names
from d3data.hub.cache import Cached
from d3data.hub.client import Client
from d3data.hub.local import Place, of_snapshot, page_of, require_pin
from d3data.hub.names import Repository, Revision
from d3data.hub.revisions import note, settle
from d3data.utils.text import some

RUN_S = "artifact"  # the folder of a run that holds what it made


def resolve(
    name: str | Path,
    *,
    revision: str | None = None,
    extras: bool = False,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Place:
    """The folder that a name stands for; what is not on this machine is fetched, and checked.

    Args:
        name: as `d3data.hub.names` explains.
        revision: a version, range, branch or commit, where the name has none.
        extras: fetch also what is not needed to train: recipe, report, preview, card.
        cache_dir: the Hub's cache; that of HF_HUB_CACHE or HF_HOME unless given.
        token: what to show the Hub; what one is logged in with unless given.
        local_files_only: ask nothing of the Hub, as with HF_HUB_OFFLINE=1.
        force_download: fetch again what is there.

    Raises:
        UnknownNameError: it is no name, no short name that is known, or no such folder.
        HubError: the Hub or its cache cannot give it.
        ArtifactError: what was fetched has a fault.
    """
    wanted = names.parse(name, revision=revision)
    if isinstance(wanted, names.Folder):
        return _folder(wanted.path)
    client = Client(token=token, cache_dir=cache_dir, local_files_only=local_files_only)
    pins, asked = {}, str(wanted)
    if isinstance(wanted, names.Short):
        found = index.find(wanted.name, client)
        if (place := _shipped(found, wanted.revision)) is not None:
            return place
        pins, wanted = found.pins, _published(found, wanted)
    try:
        return pull(wanted, client, name=asked, pins=pins, extras=extras, force=force_download)
    except HubError as failure:
        if asked != wanted.name or not Path(asked).is_dir():
            raise
        raise type(failure)(f"{failure}; for the folder of that name write ./{asked}") from None


def pull(
    wanted: Repository,
    client: Client,
    *,
    name: str | None = None,
    pins: Mapping[str, str] | None = None,
    extras: bool = False,
    force: bool = False,
) -> Place:
    """The place of a set of the Hub, all of which is in the cache afterwards.

    A version that is there already costs no request. Files that come have the size and sha256
    that the manifest says, or are fetched once more.

    Args:
        wanted: the repository and what of it.
        client: the Hub and the cache.
        name: what the set is asked for by; the repository's unless given.
        pins: what some versions must hold (`content_sha256`).
        extras: whether to fetch what is not needed to train.
        force: whether to fetch again what is there.

    Raises:
        HubError: the Hub or its cache cannot give it.
        ArtifactError: it has a fault, also when it is fetched again.
    """
    settled = settle(wanted, client, afresh=force)
    snapshot = Cached(client.root, wanted.name).snapshot(settled.commit)
    manifest = download.manifest(snapshot, client, name=str(wanted), force=force)
    version = manifest.about.version
    if names.version(settled.ref) not in (None, version):
        raise IntegrityError(
            f"{wanted.name} has version {version} under the tag {settled.ref}, which d3data never "
            f"does: tell its owner, or load {wanted.name}@{settled.commit}"
        )
    pinned = wanted.revision.kind not in ("branch", "commit")
    pin = (pins or {}).get(version) if pinned else None
    require_pin(manifest, pin, name=name or str(wanted))
    paths = download.needed(manifest, extras=extras)
    if missing := paths[1:] if force else snapshot.missing(paths):
        others = DERIVED if extras else ()
        download.fetch(snapshot, manifest, missing, client, others=others, force=force)
    note(settled, wanted, client)
    return replace(of_snapshot(snapshot, manifest, name=str(wanted)), content_sha256=pin)


def _folder(path: Path) -> Place:
    if path.name == NAME and path.is_file():
        raise UnknownNameError(
            f"{path} is a file of a set: name its folder, {_typed(path.parent)}"
        )
    if not path.is_dir():
        raise UnknownNameError(
            f"{_typed(path)} is not a folder: a short name is written without a slash, one of the "
            "Hub as org/name"
        )
    if not os.access(path, os.X_OK):
        raise IntegrityError(f"{_typed(path)} cannot be looked into: permission denied")
    if not (path / NAME).exists() and (path / RUN_S / NAME).is_file():
        raise UnknownNameError(
            f"{path} is a run, and the set that it made is {_typed(path / RUN_S)}: name that"
        )
    if (found := cache.snapshot(path)) is None:
        return Place(path, str(path))
    name = f"{found.repository}@{found.commit}"
    manifest = page_of(found, name=name)
    if missing := found.missing(download.needed(manifest)):
        raise IntegrityError(
            f"{path} of the Hub's cache lacks {some(missing)}: `d3data pull {name}` "
            "fetches the rest"
        )
    return of_snapshot(found, manifest, name=name)


def _typed(folder: Path) -> str:
    """A folder as a name that stands for it."""
    return str(folder) if folder.is_absolute() or folder.parts[:1] == ("..",) else f"./{folder}"


def _shipped(found: index.Found, revision: Revision) -> Place | None:
    """Where a set is that comes with d3data, in the version that is asked for."""
    version = found.entry.version
    if found.shipped is None or version is None:
        return None
    if revision.kind not in ("branch", "commit") and revision.pick([version]):
        return Place(found.shipped, found.name, content_sha256=found.entry.content_sha256)
    return None


def _published(found: index.Found, wanted: names.Short) -> Repository:
    """The repository of a short name, at the version of the index where it asks for none."""
    if not found.published:
        raise found.unpublished()
    version, revision = found.entry.version, wanted.revision
    if found.entry.repository is None:
        raise UnknownNameError(
            f"{found.name} has no {revision.text}: this d3data has {found.name}@{version}"
        )
    if revision.kind == "newest" and version is not None:
        revision = Revision("version", version)
    return Repository(found.entry.repository, revision)
