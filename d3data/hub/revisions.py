"""The commit of a revision: of versions from the cache, of anything else from the Hub."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from d3data.errors import NotCachedError, NotPublishedError, UnreachableError
from d3data.hub import names
from d3data.hub.cache import cached_commit, cached_versions
from d3data.hub.client import OFFLINE, Client
from d3data.hub.names import Repository

log = logging.getLogger(__name__)


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

    Raises:
        NotPublishedError: there is no such repository or revision.
        NotCachedError: the client is offline, and the cache does not know it.
        HubError: the Hub cannot be reached.
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
    refs = client.refs(wanted.name)
    version = wanted.revision.pick(filter(None, map(names.version, refs.tags)))
    if version is None:
        raise NotPublishedError(f"{wanted}: {_versions(wanted.name, refs.tags)}")
    tag = names.tag(version)
    return ResolvedRevision(refs.tags[tag], tag, unambiguous=tag not in refs.branches)


def _versions(name: str, tags: Iterable[str]) -> str:
    """Which versions exist."""
    versions = sorted(filter(None, map(names.version, tags)), key=names.order)
    if versions:
        return f"{name} has the versions {', '.join(versions[-12:])}"
    return (
        f"{name} has no version, which is a tag such as v1.0.0; to load a branch, write its "
        f"name, {name}@main"
    )
