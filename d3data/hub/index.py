"""Short names: what each stands for, by the list that comes with d3data and by one that you add.

`D3DATA_INDEX` adds a list of your own or your company's: the path of a file, or a repository of
the Hub with a file index.json (its branch main unless you write another revision). Its names come
before those of d3data.
"""

import functools
import json
import logging
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from d3data.distill.recipes import recipe_names
from d3data.errors import D3DataError, HubError, NotPublishedError, UnknownNameError, nearest
from d3data.hub import blobs, errors, names
from d3data.hub.cache import Cached, Snapshot
from d3data.hub.client import Client
from d3data.hub.revisions import note, settle
from d3data.utils import canonical_json
from d3data.utils.schema import Frozen

ZOO = Path(__file__).parent.parent / "zoo"
SHIPPED = Path(__file__).with_name("index.json")
VARIABLE = "D3DATA_INDEX"
PAGE = "index.json"
log = logging.getLogger(__name__)

ShortName = Annotated[str, StringConstraints(pattern=names.SHORT, max_length=96)]
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # ends or turns lines
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=f"^[^{_UNSEEN}]+$")]
Version = Annotated[str, StringConstraints(pattern=rf"^{names.NUMBERS}$")]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Repository = Annotated[str, AfterValidator(names.repository)]
Amount = Annotated[int, Field(ge=1, le=1 << 50, strict=True)]


def _whole(value: object) -> object:
    """The value, if it is no other that equals a whole number, such as true or 1.0."""
    if type(value) is not int:
        raise ValueError("it is a whole number")
    return value


class Budget(Frozen):
    """What a set was to fit into: values as papers count them, or bytes of manifest and parts."""

    values: Amount | None = None
    bytes: Amount | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.values is None) == (self.bytes is None):
            raise ValueError("a budget is in values or in bytes: give one of them")
        return self


class Entry(Frozen):
    """What a short name stands for.

    Attributes:
        about: one line for people.
        repository: where it is published; None where it is not, or comes with d3data itself.
        version: the one that is meant by the bare name; None is the newest of the repository.
        content_sha256: what that version must hold.
        budget: what it was to fit into.
        accuracy: of networks of the protocol `standard` on test images, in [0, 1]; None until
            it is measured.
    """

    about: Line
    repository: Repository | None = None
    version: Version | None = None
    content_sha256: Digest | None = None
    budget: Budget | None = None
    accuracy: float | None = Field(default=None, ge=0, le=1, strict=True)

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if (self.version is None) != (self.content_sha256 is None):
            raise ValueError("version and content_sha256 belong together: give both or none")
        return self


class Index(Frozen):
    """Short names, and the names that some of them had before."""

    format: Annotated[Literal[1], BeforeValidator(_whole)]
    sets: dict[ShortName, Entry]
    renamed: dict[ShortName, ShortName] = {}

    @model_validator(mode="after")
    def _resolvable(self) -> Self:
        for old, new in self.renamed.items():
            if old in self.sets or new not in self.sets:
                raise ValueError(f"renamed: {old} -> {new} must lead from no set to one of sets")
        return self


@dataclass(frozen=True)
class Found:
    """An entry, under its name of today."""

    name: str
    entry: Entry

    @property
    def shipped(self) -> Path | None:
        """The folder that comes with d3data, if it does."""
        ours = shipped().sets.get(self.name) == self.entry
        return ZOO / self.name if ours and (ZOO / self.name).is_dir() else None

    @property
    def published(self) -> bool:
        """Whether it can be loaded."""
        return self.entry.repository is not None or self.shipped is not None

    @property
    def pins(self) -> dict[str, str]:
        """The content that its version must hold, where that is known."""
        version, digest = self.entry.version, self.entry.content_sha256
        return {} if version is None or digest is None else {version: digest}

    def unpublished(self) -> NotPublishedError:
        """What whoever asks for it before it is published may do."""
        if self.name not in recipe_names():
            return NotPublishedError(
                f"{self.name} is not published yet, and there is no recipe of this name: "
                "`d3data init IMAGES` writes one for images of yours, `d3data convert --help` "
                "says how images or distributions that somebody distilled become a set, and a "
                "set that somebody has published is loaded as org/name"
            )
        return NotPublishedError(
            f"{self.name} is not published yet: `d3data distill {self.name} --out runs/{self.name}"
            f"` makes it (`d3data recipes show {self.name}` says from what), then load "
            f"./runs/{self.name}/artifact"
        )


def find(name: str, client: Client | None = None) -> Found:
    """What a short name stands for.

    Args:
        name: the short name.
        client: whom to ask for a list that is in a repository; the user's own unless given.

    Raises:
        UnknownNameError: no index has it.
        HubError: the index of `D3DATA_INDEX` cannot be read.
    """
    lists = indices(client)
    for index in lists:
        if (new := index.renamed.get(name)) is not None:
            log.warning("%s is called %s now", name, new)
            return Found(new, index.sets[new])
        if name in index.sets:
            return Found(name, index.sets[name])
    known = {name for index in lists for name in index.sets}
    raise UnknownNameError(
        f"no data set is called {name!r} ({nearest(name, known)}): a folder is written ./{name}, "
        f"one of the Hub org/{name}"
    )


def search(pattern: str = "*") -> dict[str, Found]:
    """The short names that a glob fits, such as `digits*`, in order.

    Raises:
        UnknownNameError: it fits none.
        HubError: the index of `D3DATA_INDEX` cannot be read.
    """
    known = {name: entry for index in reversed(indices()) for name, entry in index.sets.items()}
    if not (fitting := sorted(name for name in known if fnmatchcase(name, pattern))):
        near = nearest(pattern.strip("*"), known)
        raise UnknownNameError(f"no data set is called like {pattern[:100]!r}: {near}")
    return {name: Found(name, known[name]) for name in fitting}


def indices(client: Client | None = None) -> list[Index]:
    """The list that a user adds, if any, then ours."""
    place = os.environ.get(VARIABLE, "")
    return [_added(place, client), shipped()] if place else [shipped()]


@functools.cache
def shipped() -> Index:
    """The list that comes with d3data."""
    return Index.parse(json.loads(SHIPPED.read_text(encoding="utf-8")), where=str(SHIPPED))


def _added(place: str, client: Client | None) -> Index:
    where = f"{VARIABLE}={errors.clean(place, ())}"
    try:
        wanted = names.parse(place)
        if isinstance(wanted, names.Short):
            raise UnknownNameError("it is a path with a slash, such as ./index.json, or org/name")
        if isinstance(wanted, names.Folder):
            return _parsed(blobs.bounded(wanted.path))
        return _fetched(wanted, client or Client())
    except (D3DataError, OSError) as fault:
        kind = type(fault) if isinstance(fault, HubError) else HubError
        raise kind(f"{where} cannot be used: {fault}; correct it or unset {VARIABLE}") from None


def _fetched(place: names.Repository, client: Client) -> Index:
    """The list of a repository; from the cache, unless it is not there or cannot be read."""
    wanted = names.Repository(place.name, place.revision.or_branch("main"))
    settled = settle(wanted, client)
    snapshot = Cached(client.root, wanted.name).snapshot(settled.commit)
    if (found := _cached(snapshot, client)) is None:
        if (blob := client.tree(wanted.name, settled.commit).get(PAGE)) is None:
            raise NotPublishedError(f"{wanted} has no file {PAGE}")
        found = _parsed(blobs.read(client, wanted.name, settled.commit, PAGE, blob))
    note(settled, wanted, client)
    return found


def _cached(snapshot: Snapshot, client: Client) -> Index | None:
    """The list in the cache; None where there is none, or a broken one that can be fetched."""
    if (file := snapshot.links([PAGE]).get(PAGE)) is None:
        return None
    try:
        return _parsed(blobs.bounded(file))
    except D3DataError:
        if client.offline:
            raise
        return None


def _parsed(page: bytes) -> Index:
    return Index.parse(canonical_json.decode(page, where=PAGE), where=PAGE, error=HubError)
