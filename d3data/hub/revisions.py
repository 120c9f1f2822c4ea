"""Which commit a name of the Hub stands for: versions from the cache, the rest from the Hub."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from d3data.errors import NotCachedError, NotPublishedError, UnreachableError
from d3data.hub import names
from d3data.hub.cache import Cached
from d3data.hub.client import Client
from d3data.hub.names import Repository

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settled:
    """A commit, and the tag or branch that it was found by.

    `clear` is whether the Hub has no branch of the name of that tag: only then does the name
    alone stand for this commit, and may be noted.
    """

    commit: str
    ref: str
    clear: bool = True


def settle(wanted: Repository, client: Client, *, afresh: bool = False) -> Settled:
    """The commit that a name stands for now.

    A version whose tag is in the cache costs no request, as tags never move. Where the Hub does
    not answer, what the cache knows of a branch or of the newest version is taken, with a warning.

    Args:
        wanted: the name.
        client: the Hub and the cache.
        afresh: ask also for what the cache knows.

    Raises:
        NotPublishedError: there is no such repository or revision.
        NotCachedError: nothing may be asked, and the cache does not know.
        HubError: the Hub cannot be asked.
    """
    known = _known(wanted, Cached(client.root, wanted.name))
    fixed = wanted.revision.kind in ("version", "commit")
    if known is not None and (client.offline or (fixed and not afresh)):
        return known
    if client.offline:
        raise NotCachedError(_not_cached(wanted, client))
    try:
        return _asked(wanted, client)
    except UnreachableError as failure:
        if known is None or afresh:
            raise
        log.warning(
            "%s; taking %s of %s as it was last seen, %s",
            *(failure, known.ref, wanted.name, known.commit),
        )
        return known


def note(settled: Settled, wanted: Repository, client: Client) -> None:
    """Let the cache remember what a name stands for, once all of it is there."""
    known = Cached(client.root, wanted.name).commit(settled.ref)
    if known is not None and known != settled.commit and names.version(settled.ref):
        log.warning(
            "the tag %s of %s was moved from commit %s to %s, which d3data never does",
            *(settled.ref, wanted.name, known, settled.commit),
        )
    if known != settled.commit and settled.clear and not client.offline:
        client.remember(wanted.name, settled.ref)


def _known(wanted: Repository, cached: Cached) -> Settled | None:
    ref = wanted.revision.ref
    if ref is None:
        version = wanted.revision.pick(cached.versions())
        ref = None if version is None else names.tag(version)
    commit = None if ref is None else cached.commit(ref)
    return None if ref is None or commit is None else Settled(commit, ref)


def _asked(wanted: Repository, client: Client) -> Settled:
    kind, text = wanted.revision.kind, wanted.revision.text
    if kind == "commit":
        return Settled(text, text)
    if kind == "branch":
        return Settled(client.commit(wanted.name, text), text)
    refs = client.refs(wanted.name)
    version = wanted.revision.pick(filter(None, map(names.version, refs.tags)))
    if version is None:
        raise NotPublishedError(f"{wanted}: {_versions(wanted.name, refs.tags)}")
    tag = names.tag(version)
    return Settled(refs.tags[tag], tag, clear=tag not in refs.branches)


def _versions(name: str, tags: Iterable[str]) -> str:
    """What versions there are, for whoever asked for another."""
    found = sorted(filter(None, map(names.version, tags)), key=names.order)
    if found:
        return f"{name} has the versions {', '.join(found[-12:])}"
    return (
        f"{name} has no version, which is a tag such as v1.0.0: "
        f"a branch is asked for by its name, {name}@main"
    )


def _not_cached(wanted: Repository, client: Client) -> str:
    versions = sorted(Cached(client.root, wanted.name).versions(), key=names.order)
    there = f"of it there is {', '.join(versions[-12:])}" if versions else "nothing of it is there"
    return (
        f"{wanted} is not in the cache {client.root} ({there}), and HF_HUB_OFFLINE=1 or "
        "local_files_only=True forbids to ask the Hub: unset it and load the set once"
    )
