"""Repositories: commits that never change, branches that move on, tags that stay. No HTTP."""

import hashlib
import itertools
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from d3data.testing.git import Change, Commit, Delete, Entry, Put, changed
from d3data.testing.refusals import Exists, Forbidden, Invalid, NoRepository, NoRevision, Stale
from d3data.testing.rules import ATTRIBUTES

Kind = Literal["model", "dataset", "space"]
Status = Literal["open", "closed", "merged"]
MAIN = "main"
SHORTEST = 7  # characters of a commit's id that may stand for it
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_REF = re.compile(r"(?!.*(\.\.|//|/\.|\.lock$|/$))[A-Za-z0-9_][A-Za-z0-9_.+/-]*")
_SEGMENT = r"(?!.*(?:--|\.\.))(?![-.])[A-Za-z0-9._-]{1,96}(?<![-.])(?<!\.git)"
_NAME = re.compile(f"{_SEGMENT}/{_SEGMENT}")


class Blobs(dict[str, bytes]):
    """Contents by their sha256; what is put twice is kept once."""

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self.setdefault(sha256, bytes(content))
        return sha256


class Repository:
    """A model, data set or space; may be used by several threads at once.

    Its methods refuse what the Hub refuses, with the same errors.
    """

    name: str
    author: str
    private: bool

    def __init__(
        self,
        kind: Kind,
        name: str,
        *,
        blobs: Blobs,
        clock: Callable[[], datetime],
        author: str,
        private: bool = False,
    ) -> None:
        self.kind, self.name, self.private, self.author = kind, name, private, author
        self._branches: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._pulls: dict[str, str] = {}
        self._ended: dict[str, Status] = {}  # pull requests that are not open any more
        self.large: set[str] = set()  # sha256 of what was uploaded here, committed or not
        self._blobs, self._clock, self._commits = blobs, clock, dict[str, Commit]()
        self._lock = threading.RLock()
        attributes = Put(".gitattributes", self.keep(ATTRIBUTES.encode()))
        self._branches[MAIN] = self._add(None, [attributes], "initial commit").id
        self.created = self.resolve(MAIN).date

    @property
    def owner(self) -> str:
        """The user or organization that it belongs to."""
        return self.name.partition("/")[0]

    @property
    def head(self) -> str:
        """The id of the commit that main is at."""
        return self._branches[MAIN]

    @property
    def branches(self) -> dict[str, str]:
        """The commits that branches are at now, by the branches' names."""
        return dict(self._branches)

    @property
    def tags(self) -> dict[str, str]:
        """The commits of tags, by the tags' names."""
        return dict(self._tags)

    @property
    def pulls(self) -> dict[str, str]:
        """The commits of pull requests, by their references: refs/pr/1, ..."""
        return dict(self._pulls)

    def keep(self, content: bytes, *, large: bool = False) -> Entry:
        """Store a content, so that commits may use it."""
        sha256 = self._blobs.put(content)
        if not large:
            return Entry.of(content)
        self.large.add(sha256)
        return Entry.in_lfs(sha256, len(content))

    def kept(self, sha256: str) -> Entry:
        """The large file that was uploaded under `sha256`; Invalid if none was."""
        if sha256 not in self.large:
            raise Invalid(f"LFS object {sha256} was not uploaded to {self.name}")
        return Entry.in_lfs(sha256, len(self._blobs[sha256]))

    def read(self, entry: Entry) -> bytes:
        return self._blobs[entry.sha256]

    def files(self, revision: str = MAIN) -> dict[str, bytes]:
        """All files of a revision with their contents."""
        return {path: self.read(entry) for path, entry in self.resolve(revision).files.items()}

    def resolve(self, revision: str) -> Commit:
        """The commit of a branch, tag, `refs/...` or (the beginning of) an id; else NoRevision."""
        short = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        for refs, name in ((self._pulls, revision), (self._branches, short), (self._tags, short)):
            if name in refs:
                return self._commits[refs[name]]
        matching = [commit for commit in tuple(self._commits.values()) if _is(commit, revision)]
        if len(matching) != 1:
            raise NoRevision(revision)
        return matching[0]

    def history(self, revision: str = MAIN) -> Iterator[Commit]:
        """The commits of a revision, the newest first."""
        commit = self.resolve(revision)
        yield commit
        while commit.parents:
            commit = self._commits[commit.parents[0]]
            yield commit

    def commit(
        self,
        changes: Iterable[Change],
        title: str,
        *,
        branch: str = MAIN,
        parent: str | None = None,
        **about: str,
    ) -> Commit:
        """Put a commit on a branch or pull request, in one step or not at all.

        `parent` is the commit that the branch must be at, or the beginning of its id, else it is
        Stale; `about` may have a `description` and an `author`.
        """
        with self._lock:
            refs = self._pulls if branch in self._pulls else self._branches
            branch = branch.removeprefix("refs/heads/")
            if branch not in refs:
                raise NoRevision(branch)
            head = self._commits[refs[branch]]
            if parent is not None and not _is(head, parent):
                raise Stale
            made = self._add(head, changes, title, **about)
            refs[branch] = made.id
            return made

    def propose(
        self, changes: Iterable[Change], title: str, *, onto: str = MAIN, **about: str
    ) -> tuple[int, Commit]:
        """Open a pull request of one commit on `onto`; its number, and its commit."""
        with self._lock:
            made = self._add(self.resolve(onto), changes, title, **about)
            number = len(self._pulls) + 1
            self._pulls[f"refs/pr/{number}"] = made.id
            return number, made

    def close(self, pull: str) -> None:
        """Turn down a pull request, refs/pr/1; its reference stays."""
        with self._lock:
            self._require_open(pull)
            self._ended[pull] = "closed"

    def merge(self, pull: str) -> Commit:
        """Apply the changes of a pull request, refs/pr/1, to main, by one commit.

        Raises:
            Stale: main has changed a file of those since.
            Invalid: it is not open.
        """
        with self._lock:
            self._require_open(pull)
            ours = {commit.id for commit in self.history(MAIN)}
            base = next(commit for commit in self.history(pull) if commit.id in ours)
            theirs, now = self.resolve(pull), self.resolve(MAIN)
            touched = {path for path, _ in base.files.items() ^ theirs.files.items()}
            if any(base.files.get(path) != now.files.get(path) for path in touched):
                raise Stale
            self._ended[pull] = "merged"
            changes = [
                Put(path, theirs.files[path]) if path in theirs.files else Delete(path)
                for path in sorted(touched)
            ]
            return self.commit(changes, theirs.title, author=theirs.author)

    def status(self, pull: str) -> Status:
        """Whether a pull request is open, closed or merged."""
        return self._ended.get(pull, "open")

    def tag(self, name: str, revision: str = MAIN) -> None:
        """Tag a commit; Exists, if there is a tag of that name, wherever it points."""
        self._name(self._tags, name, revision, "Tag")

    def branch(self, name: str, revision: str = MAIN) -> None:
        """Begin a branch at a commit; Exists, if there is one of that name."""
        self._name(self._branches, name, revision, "Branch")

    def delete_tag(self, name: str) -> None:
        """Delete a tag; its commit stays."""
        with self._lock:
            if self._tags.pop(name, None) is None:
                raise NoRevision(name)

    def delete_branch(self, name: str) -> None:
        """Delete a branch, which cannot be main; its commits stay."""
        if name == MAIN:
            raise Forbidden(f"The branch {MAIN} cannot be deleted")
        with self._lock:
            if self._branches.pop(name, None) is None:
                raise NoRevision(name)

    def _require_open(self, pull: str) -> None:
        if pull not in self._pulls:
            raise NoRevision(pull)
        if pull in self._ended:
            raise Invalid(f"{pull} is {self._ended[pull]} already")

    def _name(self, refs: dict[str, str], name: str, revision: str, what: str) -> None:
        if not _REF.fullmatch(name):
            raise Invalid(f"{name!r} cannot be the name of a {what.lower()}")
        with self._lock:
            target = self.resolve(revision).id
            if name in refs:
                raise Exists(f"{what} reference exists already")
            refs[name] = target

    def _add(
        self, parent: Commit | None, changes: Iterable[Change], title: str, **about: str
    ) -> Commit:
        files = changed(parent.files if parent else {}, changes)
        parents = (parent.id,) if parent else ()
        made = Commit(files, parents, self._clock(), title, **{"author": self.author, **about})
        self._commits[made.id] = made
        return made


class Store:
    """Repositories by kind and name; may be used by several threads at once."""

    def __init__(self) -> None:
        self.blobs = Blobs()
        self._seconds = itertools.count()
        self._repositories: dict[tuple[Kind, str], Repository] = {}
        self._moved: dict[tuple[Kind, str], str] = {}
        self._lock = threading.RLock()

    def create(self, kind: Kind, name: str, *, author: str, private: bool = False) -> Repository:
        """A new repository with one commit, the one of `.gitattributes`."""
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
        """The repository of that kind and present or former name; else NoRepository."""
        with self._lock:
            while (kind, name) in self._moved:
                name = self._moved[kind, name]
            if (kind, name) not in self._repositories:
                raise NoRepository
            return self._repositories[kind, name]

    def delete(self, repository: Repository) -> None:
        with self._lock:
            self._repositories.pop((repository.kind, repository.name), None)

    def move(self, repository: Repository, name: str) -> None:
        """Rename a repository; the old name still finds it until it is used again."""
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
        with self._lock:
            return [made for (its, _), made in self._repositories.items() if its == kind]

    def _clock(self) -> datetime:
        """A second later at each call, so that the same requests make the same commits."""
        return BEGINNING + timedelta(seconds=next(self._seconds))


def _is(commit: Commit, name: str) -> bool:
    return len(name) >= SHORTEST and commit.id.startswith(name)


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} is not a name of a repository: owner/name is")
