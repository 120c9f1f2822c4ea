"""What every answer may look at: the store, the users, the settings, and who asks for what."""

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from d3data.testing.accounts import Accounts, User, require_owner, require_sight, require_writer
from d3data.testing.commits import Commit
from d3data.testing.objects import Entry
from d3data.testing.refusals import Invalid, NoRepository
from d3data.testing.repository import Kind, Repository
from d3data.testing.store import Store
from d3data.testing.wire import Call

KINDS: Mapping[str, Kind] = {
    "models": "model",
    "datasets": "dataset",
    "spaces": "space",
}


def kind_of(name: object) -> Kind:
    """The kind that a payload calls "dataset"; a model where it says nothing."""
    plural = f"{name or 'model'}s"
    if plural not in KINDS:
        raise Invalid(f"{name!r} is not a kind of repository: model, dataset and space are")
    return KINDS[plural]


@dataclass(frozen=True)
class Settings:
    """How this Hub behaves; what each is for says `LocalHub`."""

    redirect: bool
    large_above: int
    part_bytes: int | None
    page: int


@dataclass
class Site:
    """A Hub without its servers; `endpoint` and `storage` are their addresses."""

    accounts: Accounts
    settings: Settings
    store: Store = field(default_factory=Store)
    endpoint: str = ""
    storage: str = ""
    parts: dict[tuple[str, str], dict[int, bytes]] = field(default_factory=dict)

    def url(self, repository: Repository) -> str:
        """The page of a repository."""
        return f"{self.endpoint}/{prefix(repository)}{repository.name}"

    def stored(self, repository: Repository, entry: Entry) -> str:
        """Where a large file is uploaded to, and below which it is downloaded from."""
        return f"{self.storage}/{repository.kind}s/{repository.name}/{entry.sha256}"


@dataclass(frozen=True)
class Visit:
    """One request, who makes it, and what its address names."""

    site: Site
    call: Call
    user: User | None
    names: Mapping[str, str]

    @cached_property
    def repository(self) -> Repository:
        """The repository of the address, which the user may see; else NoRepository."""
        try:
            found = self.place
        except NoRepository:
            raise NoRepository(signed_in=self.user is not None) from None
        require_sight(self.user, found)
        return found

    @property
    def place(self) -> Repository:
        """The repository of the address, whoever asks; NoRepository where there is none."""
        return self.site.store.find(KINDS[self.names.get("kind", "models")], self.names["name"])

    @cached_property
    def commit(self) -> Commit:
        """The commit of the address, of main where it names none."""
        return self.repository.resolve(self.names.get("revision") or "main")

    def writer(self) -> User:
        """The user, who may write to the repository or propose changes to it.

        Raises:
            NotSignedIn, Forbidden, NoRepository: they may not.
        """
        repository = self.repository
        if self.call.flag("create_pr"):
            return require_writer(self.user)
        return require_owner(self.user, repository.name.partition("/")[0])


def prefix(repository: Repository) -> str:
    """What comes before the name in addresses of pages and files; nothing for models."""
    return "" if repository.kind == "model" else f"{repository.kind}s/"


def quoted(text: str) -> str:
    """A text as one segment of an address."""
    return urllib.parse.quote(text, safe="")
