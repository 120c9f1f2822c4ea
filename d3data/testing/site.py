"""A Hub without its servers: its users and their rights, and what its handlers are told.

Source: the requests of huggingface_hub 1.33 and 2.4, and huggingface.co/docs/hub/api.
"""

import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from d3data.errors import D3DataError
from d3data.testing.git import Commit, Entry
from d3data.testing.refusals import (
    Forbidden,
    Invalid,
    NoRepository,
    NotSignedIn,
    NotSupported,
    Refusal,
)
from d3data.testing.repository import Kind, Repository, Store
from d3data.testing.server import Call, Reply, as_json, refused
from d3data.utils.checks import whole

Anonymous = Literal["nothing", "read", "write"]
KINDS: Mapping[str, Kind] = {"models": "model", "datasets": "dataset", "spaces": "space"}
Where = Literal["hub", "storage"]
Handler = Callable[["Context"], Any]  # a Reply, or what is sent as JSON
REPOSITORY = "/api/{kind}/{name}"
PAGE = "/(?:(?P<kind>datasets|spaces)/)?{name}"  # a model's page has no prefix
OBJECT = "/{kind}/{name}/{sha256}"
_PLACES = {
    "kind": "models|datasets|spaces",
    "name": "[^/]+/[^/]+",
    "revision": "[^/]+",
    "path": ".+",
    "sha256": "[0-9a-f]{64}",
    "part": "[0-9]+",
}


@dataclass(frozen=True)
class User:
    """Somebody with a token, who owns the repositories of their name and of organizations.

    A token of role "read" can see their private repositories, and changes nothing.
    """

    name: str
    token: str
    role: Literal["read", "write"] = "write"
    organizations: tuple[str, ...] = ()

    @property
    def owners(self) -> tuple[str, ...]:
        """The names before the slash under which this user's repositories are."""
        return (self.name, *self.organizations)


@dataclass
class Site:
    """A Hub without its servers, whose URLs are `endpoint` and `storage`; see `LocalHub`."""

    users: Sequence[User]
    anonymous: Anonymous
    redirect: bool
    large_above: int
    part_bytes: int | None
    page: int
    store: Store = field(default_factory=Store)
    endpoint: str = ""
    storage: str = ""
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)  # by the URL of their object

    def __post_init__(self) -> None:
        if not self.users or not all(isinstance(user, User) for user in self.users):
            raise D3DataError(f"users must be at least one User(name, token), got {self.users!r}")
        if self.anonymous not in get_args(Anonymous):
            known = ", ".join(get_args(Anonymous))
            raise D3DataError(f"anonymous must be one of {known}, got {self.anonymous!r}")
        whole(self.large_above, "large_above")
        whole(self.page, "page", least=1)
        if self.part_bytes is not None:
            whole(self.part_bytes, "part_bytes", least=1)

    def token_owner(self, headers: Mapping[str, str]) -> User | None:
        """The owner of a request's token; None without a token or with an unknown one."""
        token = _token(headers)
        return next((user for user in self.users if user.token == token), None)

    def identify(self, headers: Mapping[str, str]) -> User | None:
        """The user of a request, None without a token; NotSignedIn if it is unknown or needed."""
        if not _token(headers):
            if self.anonymous == "nothing":
                raise NotSignedIn
            return self.users[0] if self.anonymous == "write" else None
        if (user := self.token_owner(headers)) is None:
            raise NotSignedIn("Invalid credentials in Authorization header")
        return user

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

    def can_see(self, repository: Repository) -> bool:
        owners = self.user.owners if self.user else ()
        return not repository.private or repository.owner in owners

    def find(self, kind: Kind, name: str) -> Repository:
        """A repository that the user may see; else NoRepository."""
        try:
            repository = self.site.store.find(kind, name)
            if self.can_see(repository):
                return repository
            raise NoRepository
        except NoRepository as refusal:
            refusal.status = 404 if self.user else 401
            raise

    @cached_property
    def repository(self) -> Repository:
        """The repository of the URL, which the user may see; else NoRepository."""
        return self.find(KINDS[self.names.get("kind", "models")], self.names["name"])

    @property
    def stored_repository(self) -> Repository:
        """The repository of the URL, for any user; NoRepository if there is none."""
        return self.site.store.find(KINDS[self.names["kind"]], self.names["name"])

    @cached_property
    def commit(self) -> Commit:
        """The commit of the URL, by default of main."""
        return self.repository.resolve(self.names.get("revision") or "main")

    def require_writer(self, owner: str | None = None) -> User:
        """The user, who may write, and under that owner's name; else NotSignedIn or Forbidden."""
        if (user := self.user) is None:
            raise NotSignedIn
        if user.role != "write":
            raise Forbidden(f"The token of {user.name} may read only: it has role {user.role!r}")
        if owner is not None and owner not in user.owners:
            raise Forbidden(f"{user.name} does not have the rights to write under {owner}/")
        return user

    def require_editor(self) -> User:
        """The user, who may write to the repository of the URL or open pull requests there."""
        owner = self.repository.owner
        return self.require_writer(None if self.call.flag("create_pr") else owner)

    def page(self, items: Sequence[Any], size: int | None = None) -> Reply:
        """The page of a listing at `cursor`, linked to the next."""
        start = int(self.call.one("cursor", "0"))
        size = min(size or self.site.page, self.site.page)
        headers = {}
        if start + size < len(items):
            query = {**self.call.query, "cursor": [str(start + size)]}
            encoded = urllib.parse.urlencode(query, doseq=True)
            headers["Link"] = f'<{self.site.endpoint}{self.call.quoted}?{encoded}>; rel="next"'
        return as_json(items[start : start + size], headers)


def kind_of(name: object) -> Kind:
    """The kind that a payload calls "dataset"; a model where it says nothing."""
    plural = f"{name or 'model'}s"
    if plural not in KINDS:
        raise Invalid(f"{name!r} is not a kind of repository: model, dataset and space are")
    return KINDS[plural]


def _token(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


@dataclass(frozen=True)
class Route:
    """The URLs of a handler; `open` ones never need a token, nor do those of the storage."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    where: Where
    open: bool

    def names(self, call: Call) -> dict[str, str] | None:
        """The parts of the URL of a request; None if it does not match."""
        if self.method != ("GET" if call.method == "HEAD" else call.method):
            return None
        if (match := self.pattern.fullmatch(call.quoted)) is None:
            return None
        return {
            place: urllib.parse.unquote(text) for place, text in match.groupdict().items() if text
        }


class Routes(list[Route]):
    """A table of URLs, to which `@routes.on(method, address)` adds a handler.

    An address is a pattern, in which `{name}` and the like stand for what varies.
    """

    def on(
        self, method: str, address: str, *, where: Where = "hub", open: bool = False
    ) -> Callable[[Handler], Handler]:
        for place, form in _PLACES.items():
            address = address.replace(f"{{{place}}}", f"(?P<{place}>{form})")
        pattern = re.compile(address)

        def add(handler: Handler) -> Handler:
            self.append(Route(method, pattern, handler, where, open or where == "storage"))
            return handler

        return add


def serve(site: Site, routes: Iterable[Route], call: Call) -> Reply:
    """The reply to a request, which may be a refusal."""
    try:
        for route in routes:
            if (names := route.names(call)) is not None:
                user = None if route.open else site.identify(call.headers)
                reply = route.handler(Context(site, call, user, names))
                return reply if isinstance(reply, Reply) else as_json(reply)
        raise NotSupported(f"{call.method} {call.path} is not supported here")
    except Refusal as refusal:
        return refused(refusal)
