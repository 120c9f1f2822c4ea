"""All repositories of a Hub and the contents they share. No HTTP: routes.py speaks that."""

import itertools
import re
import threading
from datetime import UTC, datetime, timedelta

from d3data.testing.objects import Blobs
from d3data.testing.refusals import Exists, Invalid, NoRepository
from d3data.testing.repository import Kind, Repository

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_SEGMENT = r"(?!.*(?:--|\.\.))(?![-.])[A-Za-z0-9._-]{1,96}(?<![-.])(?<!\.git)"
_NAME = re.compile(f"{_SEGMENT}/{_SEGMENT}")


class Clock:
    """A second later at each look, so that the same requests make the same commits."""

    def __init__(self) -> None:
        self._seconds = itertools.count()

    def __call__(self) -> datetime:
        return BEGINNING + timedelta(seconds=next(self._seconds))


class Store:
    """Repositories by kind and name; may be used by several threads at once."""

    def __init__(self) -> None:
        self.blobs = Blobs()
        self._clock = Clock()
        self._repositories: dict[tuple[Kind, str], Repository] = {}
        self._moved: dict[tuple[Kind, str], str] = {}
        self._lock = threading.RLock()

    def create(self, kind: Kind, name: str, *, author: str, private: bool = False) -> Repository:
        """A new repository with one commit, the one of `.gitattributes`.

        Raises:
            Exists: there is one of that kind and name.
            Invalid: it is not a name of the form owner/name.
        """
        _require_name(name)
        with self._lock:
            if (kind, name) in self._repositories:
                raise Exists(f"You already created this {kind} repo: {name}")
            made = Repository(
                kind, name, blobs=self.blobs, clock=self._clock, author=author, private=private
            )
            self._repositories[kind, name] = made
            self._moved.pop((kind, name), None)
            return made

    def find(self, kind: Kind, name: str) -> Repository:
        """The repository of that kind and name, also under a name it had before it was moved.

        Raises:
            NoRepository: there is none.
        """
        with self._lock:
            while (kind, name) in self._moved:
                name = self._moved[kind, name]
            if (kind, name) not in self._repositories:
                raise NoRepository
            return self._repositories[kind, name]

    def delete(self, repository: Repository) -> None:
        """Forget a repository; contents that it shares with others stay."""
        with self._lock:
            self._repositories.pop((repository.kind, repository.name), None)

    def move(self, repository: Repository, name: str) -> None:
        """Give a repository another name; the old one still finds it until it is given anew.

        Raises:
            Exists, Invalid: as in `create`.
        """
        _require_name(name)
        with self._lock:
            if (repository.kind, name) in self._repositories:
                raise Exists(f"There is a {repository.kind} repo {name} already")
            del self._repositories[repository.kind, repository.name]
            self._moved.pop((repository.kind, name), None)
            self._moved[repository.kind, repository.name] = name
            repository.name = name
            self._repositories[repository.kind, name] = repository

    def all(self, kind: Kind) -> list[Repository]:
        """The repositories of a kind, the oldest first."""
        with self._lock:
            return [found for (its, _), found in self._repositories.items() if its == kind]


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} is not a name of a repository: owner/name is")
