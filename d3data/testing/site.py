"""What every handler may use: repositories, users and their rights, settings, the request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

from d3data.errors import D3DataError
from d3data.testing.git import Commit, Entry
from d3data.testing.refusals import Forbidden, Invalid, NoRepository, NotSignedIn
from d3data.testing.repository import Kind, Repository, Store
from d3data.testing.server import Call

Anonymous = Literal["nothing", "read", "write"]


@dataclass(frozen=True)
class User:
    """Somebody with a token, who owns the repositories of their name and of organizations.

    A token of role "read" can_see their private repositories, and changes nothing.
    """

    name: str
    token: str
    role: Literal["read", "write"] = "write"
    organizations: tuple[str, ...] = ()

    @property
    def owners(self) -> tuple[str, ...]:
        """The names before the slash under which this user's repositories are."""
        return (self.name, *self.organizations)


class Accounts:
    """The users of a Hub, of whom the first stands for anybody where `anonymous` may write.

    Raises:
        D3DataError: there are no users, or `anonymous` is not one of its values.
    """

    def __init__(self, users: Sequence[User], anonymous: Anonymous) -> None:
        if not users or not all(isinstance(user, User) for user in users):
            raise D3DataError(f"users must be at least one User(name, token), got {users!r}")
        if anonymous not in get_args(Anonymous):
            known = ", ".join(get_args(Anonymous))
            raise D3DataError(f"anonymous must be one of {known}, got {anonymous!r}")
        self.users, self.anonymous = tuple(users), anonymous
        self._by_token = {user.token: user for user in users}

    def token_owner(self, headers: Mapping[str, str]) -> User | None:
        """The owner of a request's token; None without a token or with an unknown one."""
        return self._by_token.get(_token(headers))

    def identify(self, headers: Mapping[str, str]) -> User | None:
        """The user of a request, None without a token; NotSignedIn if the token is unknown,
        or missing and needed.
        """
        if not _token(headers):
            if self.anonymous == "nothing":
                raise NotSignedIn("Invalid username or password.")
            return self.users[0] if self.anonymous == "write" else None
        if (user := self.token_owner(headers)) is None:
            raise NotSignedIn("Invalid credentials in Authorization header")
        return user


def can_see(user: User | None, repository: Repository) -> bool:
    """Whether a repository is visible to this user."""
    return not repository.private or (
        user is not None and repository.name.partition("/")[0] in user.owners
    )


def require_visible(user: User | None, repository: Repository) -> None:
    """Raise NoRepository where the user may not know that it exists."""
    if not can_see(user, repository):
        raise NoRepository(signed_in=user is not None)


def require_writer(user: User | None) -> User:
    """The user, whose token may write somewhere; else NotSignedIn or Forbidden."""
    if user is None:
        raise NotSignedIn("Invalid username or password.")
    if user.role != "write":
        raise Forbidden(f"The token of {user.name} may read only: it has role {user.role!r}")
    return user


def require_owner(user: User | None, owner: str) -> User:
    """The user, who may write under that owner's name; else NotSignedIn or Forbidden."""
    user = require_writer(user)
    if owner not in user.owners:
        raise Forbidden(f"{user.name} does not have the rights to write under {owner}/")
    return user


def _token(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


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


@dataclass
class Site:
    """A Hub without its servers, whose URLs are `endpoint` and `storage`; see `LocalHub`."""

    accounts: Accounts
    redirect: bool
    large_above: int
    part_bytes: int | None
    page: int
    store: Store = field(default_factory=Store)
    endpoint: str = ""
    storage: str = ""
    parts: dict[tuple[str, str], dict[int, bytes]] = field(default_factory=dict)

    def url(self, repository: Repository) -> str:
        """The web page of a repository."""
        prefix = "" if repository.kind == "model" else f"{repository.kind}s/"
        return f"{self.endpoint}/{prefix}{repository.name}"

    def stored(self, repository: Repository, entry: Entry) -> str:
        """The URL that a large file is uploaded to, and below which it is downloaded from."""
        return f"{self.storage}/{repository.kind}s/{repository.name}/{entry.sha256}"


@dataclass(frozen=True)
class Context:
    """One request, its user, and the parts of its URL."""

    site: Site
    call: Call
    user: User | None
    names: Mapping[str, str]

    @cached_property
    def repository(self) -> Repository:
        """The repository of the URL, which the user may see; else NoRepository."""
        try:
            found = self.stored_repository
        except NoRepository:
            raise NoRepository(signed_in=self.user is not None) from None
        require_visible(self.user, found)
        return found

    @property
    def stored_repository(self) -> Repository:
        """The repository of the URL, for any user; NoRepository if there is none."""
        return self.site.store.find(KINDS[self.names.get("kind", "models")], self.names["name"])

    @cached_property
    def commit(self) -> Commit:
        """The commit of the URL, by default of main."""
        return self.repository.resolve(self.names.get("revision") or "main")

    def writer(self) -> User:
        """The user, who may write to the repository or open pull requests.

        Raises:
            NotSignedIn, Forbidden, NoRepository: they may not.
        """
        repository = self.repository
        if self.call.flag("create_pr"):
            return require_writer(self.user)
        return require_owner(self.user, repository.name.partition("/")[0])
