"""Short names: the index that comes with d3data, and one that you add.

`D3DATA_INDEX` adds an index of your own or your company's: the path of a file, or a repository of
the Hub with a file index.json (its branch main unless you write another revision). Its names take
precedence over those of d3data.
"""

import contextlib
import functools
import json
import logging
import os
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from d3data.errors import D3DataError, HubError, NotPublishedError, UnknownNameError, nearest
from d3data.hub import errors, names
from d3data.hub.cache import Snapshot, find_commit, remember
from d3data.hub.client import DEFAULTS, Client, HubOptions, read_limited
from d3data.utils import canonical_json
from d3data.utils.paths import ZOO
from d3data.utils.schema import Frozen

SHIPPED = Path(__file__).with_name("index.json")
VARIABLE = "D3DATA_INDEX"
FILE = "index.json"
log: logging.Logger = logging.getLogger(__name__)

ShortName = Annotated[str, StringConstraints(pattern=names.SHORT, max_length=96)]
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line ends and turns
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=f"^[^{_UNSEEN}]+$")]
Version = Annotated[str, StringConstraints(pattern=rf"^{names.NUMBERS}$")]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Repository = Annotated[str, AfterValidator(names.repository)]
Amount = Annotated[int, Field(ge=1, le=1 << 50, strict=True)]


def _integer(value: object) -> object:
    if type(value) is not int:
        raise ValueError("must be an integer")  # not true or 1.0, which equal one
    return value


class Budget(Frozen):
    """The limit a set was made for: values as in papers, or bytes of manifest and parts."""

    values: Amount | None = None
    bytes: Amount | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.values is None) == (self.bytes is None):
            raise ValueError("a budget is in values or in bytes: give exactly one of them")
        return self


class Entry(Frozen):
    """What a short name stands for.

    Without a `repository` it is not published, or comes with d3data; without a `version` it is the
    newest of the repository. `accuracy` is that of networks of the protocol `standard` on test
    images, in [0, 1].
    """

    about: Line
    repository: Repository | None = None
    version: Version | None = None
    content_sha256: Digest | None = None  # of that version
    budget: Budget | None = None
    accuracy: float | None = Field(default=None, ge=0, le=1, strict=True)

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if (self.version is None) != (self.content_sha256 is None):
            raise ValueError("version and content_sha256 belong together: give both or none")
        return self


class Index(Frozen):
    """Short names, and former names."""

    format: Annotated[Literal[1], BeforeValidator(_integer)]
    sets: dict[ShortName, Entry]
    renamed: dict[ShortName, ShortName] = {}

    @model_validator(mode="after")
    def _resolvable(self) -> Self:
        for old, new in self.renamed.items():
            if old in self.sets or new not in self.sets:
                raise ValueError(f"renamed: {old} -> {new} must map an old name to one of `sets`")
        return self


@dataclass(frozen=True)
class Found:
    """An entry, under its current name."""

    name: str
    entry: Entry

    @property
    def shipped(self) -> Path | None:
        """The folder in the package, if it comes with d3data."""
        ours = shipped().sets.get(self.name) == self.entry
        return ZOO / self.name if ours and (ZOO / self.name).is_dir() else None

    @property
    def published(self) -> bool:
        return self.entry.repository is not None or self.shipped is not None

    @property
    def pins(self) -> dict[str, str]:
        """The content of its version, where it is known."""
        version, digest = self.entry.version, self.entry.content_sha256
        return {version: digest} if version and digest else {}

    def not_published(self) -> NotPublishedError:
        """The error of loading it before it is published."""
        return NotPublishedError(
            f"{self.name} is not published yet: make it, `d3data distill {self.name}`, and load "
            f"./runs/{self.name}/artifact"
        )


def find(name: str, options: HubOptions = DEFAULTS) -> Found:
    """The entry of a short name; `options` are for an index in a repository."""
    lists = indices(options)
    for index in lists:
        if (new := index.renamed.get(name)) is not None:
            log.warning("%s is now called %s", name, new)
            return Found(new, index.sets[new])
        if name in index.sets:
            return Found(name, index.sets[name])
    known = {name: Found(name, entry) for index in lists for name, entry in index.sets.items()}
    near = nearest(name, known, [each for each, found in known.items() if found.published])
    raise UnknownNameError(
        f"no data set is called {name!r} ({near}): a folder is written ./{name}, "
        f"a data set of the Hub org/{name}"
    )


def search(pattern: str = "*") -> dict[str, Found]:
    """The short names that match a glob such as `digits*`, in order; at least one."""
    known = {name: entry for index in reversed(indices()) for name, entry in index.sets.items()}
    if not (matching := sorted(name for name in known if fnmatchcase(name, pattern))):
        near = nearest(pattern.strip("*"), known)
        raise UnknownNameError(f"no data set matches {pattern[:100]!r}: {near}")
    return {name: Found(name, known[name]) for name in matching}


def indices(options: HubOptions = DEFAULTS) -> list[Index]:
    """The index that a user adds, if any, then ours."""
    place = os.environ.get(VARIABLE, "")
    return [_added(place, options), shipped()] if place else [shipped()]


@functools.cache
def shipped() -> Index:
    """The index that comes with d3data."""
    return Index.parse(json.loads(SHIPPED.read_text(encoding="utf-8")), where=str(SHIPPED))


def _added(place: str, options: HubOptions) -> Index:
    try:
        wanted = names.parse(place)
        if isinstance(wanted, names.Short):
            raise UnknownNameError("write a path with a slash, such as ./index.json, or org/name")
        if isinstance(wanted, names.Folder):
            return _parsed(read_limited(wanted.path))
        return _downloaded(wanted, Client(replace(options, force_download=False)))
    except (D3DataError, OSError) as fault:
        kind = type(fault) if isinstance(fault, HubError) else HubError
        where = f"{VARIABLE}={errors.clean(place)}"
        raise kind(f"{where} cannot be used: {fault}; correct it or unset {VARIABLE}") from None


def _downloaded(wanted: names.Repository, client: Client) -> Index:
    """The index of a repository; from the cache, unless it is missing or broken there."""
    wanted = names.Repository(wanted.name, wanted.revision.or_branch("main"))
    found = find_commit(wanted, client)
    file = Snapshot.of(client.root, wanted.name, found.commit).links([FILE]).get(FILE)
    index = None
    with contextlib.suppress(*(() if client.offline else (D3DataError,))):
        index = _parsed(read_limited(file)) if file else None
    if index is None:
        if (blob := client.tree(wanted.name, found.commit).get(FILE)) is None:
            raise NotPublishedError(f"{wanted} has no file {FILE}")
        index = _parsed(client.read(wanted.name, found.commit, FILE, blob))
    remember(found, wanted, client)
    return index


def _parsed(content: bytes) -> Index:
    return Index.parse(canonical_json.decode(content, where=FILE), where=FILE, error=HubError)
