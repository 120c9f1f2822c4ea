"""Who asks, and what they may do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from d3data.errors import D3DataError
from d3data.testing.refusals import Forbidden, NoRepository, NotSignedIn
from d3data.testing.repository import Repository

Anonymous = Literal["nothing", "read", "write"]


@dataclass(frozen=True)
class User:
    """Somebody with a token, who may act under their own name and those of organizations.

    A token of role "read" sees what is private, and changes nothing.
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
        D3DataError: there are no users, or `anonymous` is none of its words.
    """

    def __init__(self, users: Sequence[User], anonymous: Anonymous) -> None:
        if not users or not all(isinstance(user, User) for user in users):
            raise D3DataError(f"users={users!r}: give at least one User(name, token)")
        if anonymous not in get_args(Anonymous):
            raise D3DataError(f"anonymous={anonymous!r}: it is one of {get_args(Anonymous)}")
        self.users, self.anonymous = tuple(users), anonymous
        self._by_token = {user.token: user for user in users}

    def __getitem__(self, name: str) -> User:
        return next(user for user in self.users if user.name == name)

    def named(self, headers: Mapping[str, str]) -> User | None:
        """Whose token a request carries; None without a token or with a wrong one."""
        return self._by_token.get(_token(headers))

    def identify(self, headers: Mapping[str, str]) -> User | None:
        """Who asks; None is anybody.

        Raises:
            NotSignedIn: nobody has that token, or there is none and this Hub wants one.
        """
        if not _token(headers):
            if self.anonymous == "nothing":
                raise NotSignedIn("Invalid username or password.")
            return self.users[0] if self.anonymous == "write" else None
        if (user := self.named(headers)) is None:
            raise NotSignedIn("Invalid credentials in Authorization header")
        return user


def sees(user: User | None, repository: Repository) -> bool:
    """Whether a repository is there at all for this user."""
    return not repository.private or (user is not None and _owner(repository) in user.owners)


def require_sight(user: User | None, repository: Repository) -> None:
    """Raise NoRepository where the user is not to know that it exists."""
    if not sees(user, repository):
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


def _owner(repository: Repository) -> str:
    return repository.name.partition("/")[0]


def _token(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
