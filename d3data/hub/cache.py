"""Commits of revisions, and the Hub's cache on this machine; only huggingface_hub writes to it.

    <root>/datasets--org--name/refs/v1.2.0              holds the commit of a tag or a branch
    <root>/datasets--org--name/snapshots/<commit>/...   links to, or is, the files of a commit
    <root>/.../blobs/...                                the files

Source: huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from d3data.errors import IntegrityError, NotCachedError, NotPublishedError, UnreachableError
from d3data.hub import names
from d3data.hub.client import OFFLINE, Client
from d3data.hub.names import Repository

_COMMIT = re.compile("[0-9a-f]{40}")
log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """The folder of one commit, whether anything is in it or not."""

    folder: Path

    @classmethod
    def of(cls, root: Path, repository: str, commit: str) -> "Snapshot":
        return cls(_repository(root, repository) / "snapshots" / commit)

    @classmethod
    def at(cls, folder: Path) -> "Snapshot | None":
        """The snapshot that a folder is, by its path; None for any other folder."""
        folder = Path(os.path.realpath(folder))
        parent = folder.parent
        in_cache = parent.name == "snapshots" and parent.parent.name.startswith("datasets--")
        return cls(folder) if in_cache and _COMMIT.fullmatch(folder.name) else None

    @property
    def commit(self) -> str:
        return self.folder.name

    @property
    def repository(self) -> str:
        return self.folder.parents[1].name.removeprefix("datasets--").replace("--", "/")

    def links(self, paths: Iterable[str]) -> dict[str, Path]:
        """The real file of each path that exists; IntegrityError if one is out of the cache."""
        root = Path(os.path.realpath(self.folder.parents[2]))
        real = {path: Path(os.path.realpath(self.folder / path)) for path in paths}
        for path, file in real.items():
            if not file.is_relative_to(root):
                raise IntegrityError(
                    f"{self.folder / path} is a link to {file}, outside of the cache {root}: "
                    "delete it, and download the set again"
                )
        return {path: file for path, file in real.items() if file.is_file()}

    def missing(self, paths: Iterable[str]) -> list[str]:
        """The paths that do not exist."""
        links = self.links(paths := list(paths))
        return [path for path in paths if path not in links]


def cached_commit(root: Path, repository: str, ref: str) -> str | None:
    """The commit of a tag or branch when it was last requested; of a commit, itself."""
    if _COMMIT.fullmatch(ref):
        return ref
    try:
        commit = (_repository(root, repository) / "refs" / ref).read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def cached_versions(root: Path, repository: str) -> list[str]:
    """The versions whose tags have been requested, in ascending order."""
    try:
        tags = [ref.name for ref in (_repository(root, repository) / "refs").iterdir()]
    except OSError:
        return []
    known = [tag for tag in tags if cached_commit(root, repository, tag)]
    return sorted(filter(None, map(names.version, known)), key=names.order)


def _repository(root: Path, repository: str) -> Path:
    return root / f"datasets--{repository.replace('/', '--')}"


@dataclass(frozen=True)
class ResolvedRevision:
    """A commit, and the tag or branch that it was found by.

    `unambiguous` is whether the Hub has no branch of the same name as that tag: only then may
    the cache store the commit under this name.
    """

    commit: str
    ref: str
    unambiguous: bool = True


def find_commit(wanted: Repository, client: Client) -> ResolvedRevision:
    """The commit of a revision now.

    A version whose tag is in the cache costs no request, as tags never move. Where the Hub does
    not answer, the cached commit of a branch or of the newest version is used, with a warning.
    """
    cached, force = _cached(wanted, client), client.options.force_download
    fixed = wanted.revision.kind in ("version", "commit")
    if cached is not None and (client.offline or (fixed and not force)):
        return cached
    if client.offline:
        versions = ", ".join(cached_versions(client.root, wanted.name)[-12:])
        state = f"which has {versions}" if versions else "which has nothing of it"
        raise NotCachedError(
            f"{wanted} is not in the cache {client.root} ({state}), and {OFFLINE} and load the "
            "set once"
        )
    try:
        return _request(wanted, client)
    except UnreachableError as failure:
        if cached is None or force:
            raise
        log.warning(
            "%s; using the cached commit of %s of %s, %s",
            *(failure, cached.ref, wanted.name, cached.commit),
        )
        return cached


def remember(found: ResolvedRevision, wanted: Repository, client: Client) -> None:
    """Store the commit of a revision in the cache, once all of it is there."""
    known = cached_commit(client.root, wanted.name, found.ref)
    if known is not None and known != found.commit and names.version(found.ref):
        log.warning(
            "the tag %s of %s was moved from commit %s to %s, which d3data never does",
            *(found.ref, wanted.name, known, found.commit),
        )
    if known != found.commit and found.unambiguous and not client.offline:
        client.cache_ref(wanted.name, found.ref)


def _cached(wanted: Repository, client: Client) -> ResolvedRevision | None:
    ref = wanted.revision.ref
    if ref is None:
        version = wanted.revision.pick(cached_versions(client.root, wanted.name))
        ref = version and names.tag(version)
    commit = ref and cached_commit(client.root, wanted.name, ref)
    return ResolvedRevision(commit, ref) if ref and commit else None


def _request(wanted: Repository, client: Client) -> ResolvedRevision:
    kind, text = wanted.revision.kind, wanted.revision.text
    if kind == "commit":
        return ResolvedRevision(text, text)
    if kind == "branch":
        return ResolvedRevision(client.commit(wanted.name, text), text)
    refs, name = client.refs(wanted.name), wanted.name
    versions = sorted(filter(None, map(names.version, refs.tags)), key=names.order)
    if (version := wanted.revision.pick(versions)) is None:
        listed = f"the versions {', '.join(versions[-12:])}"
        none = f"no version, which is a tag such as v1.0.0; to load a branch, write {name}@main"
        raise NotPublishedError(f"{wanted}: {name} has {listed if versions else none}")
    tag = names.tag(version)
    return ResolvedRevision(refs.tags[tag], tag, unambiguous=tag not in refs.branches)
