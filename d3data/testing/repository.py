"""One repository: commits that never change, branches that move on, tags that stay."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal

from d3data.testing.attributes import ATTRIBUTES
from d3data.testing.commits import Change, Commit, Delete, Put, changed, seal
from d3data.testing.objects import Blobs, Entry
from d3data.testing.refusals import Exists, Forbidden, Invalid, NoRevision, Stale

Kind = Literal["model", "dataset", "space"]
Status = Literal["open", "closed", "merged"]
MAIN = "main"
SHORTEST = 7  # characters of a commit's name that may stand for it
_NAME = re.compile(r"(?!.*(\.\.|//|/\.|\.lock$|/$))[A-Za-z0-9_][A-Za-z0-9_.+/-]*")


class Repository:
    """A model, data set or space; may be used by several threads at once.

    Its methods refuse what the Hub refuses, with the same errors.
    """

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
        self._branches[MAIN] = self._add({}, [attributes], (), "initial commit", "", author).id
        self.created = self.resolve(MAIN).date

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
        """The commits that tags stay at, by the tags' names."""
        return dict(self._tags)

    @property
    def pulls(self) -> dict[str, str]:
        """The commits of pull requests, by their references: refs/pr/1, ..."""
        return dict(self._pulls)

    def keep(self, content: bytes, *, large: bool = False) -> Entry:
        """Take in a content, so that commits may name it."""
        sha256 = self._blobs.put(content)
        if not large:
            return Entry.of(content)
        self.large.add(sha256)
        return Entry.in_lfs(sha256, len(content))

    def kept(self, sha256: str) -> Entry:
        """The large file that was uploaded under `sha256`.

        Raises:
            Invalid: none was.
        """
        if sha256 not in self.large:
            raise Invalid(f"LFS object {sha256} was not uploaded to {self.name}")
        return Entry.in_lfs(sha256, len(self._blobs[sha256]))

    def read(self, entry: Entry) -> bytes:
        """The content of a file."""
        return self._blobs[entry.sha256]

    def files(self, revision: str = MAIN) -> dict[str, bytes]:
        """All files of a revision with their contents."""
        return {path: self.read(entry) for path, entry in self.resolve(revision).files.items()}

    def resolve(self, revision: str) -> Commit:
        """The commit that a branch, tag, `refs/...` or (the beginning of) an id stands for.

        Raises:
            NoRevision: it stands for none.
        """
        short = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        for names, name in ((self._pulls, revision), (self._branches, short), (self._tags, short)):
            if name in names:
                return self._commits[names[name]]
        if len(revision) >= SHORTEST:
            found = [name for name in tuple(self._commits) if name.startswith(revision)]
            if len(found) == 1:
                return self._commits[found[0]]
        raise NoRevision(revision)

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
        description: str = "",
        author: str | None = None,
        branch: str = MAIN,
        parent: str | None = None,
    ) -> Commit:
        """Put a commit on a branch, in one step or not at all.

        `parent` is the commit that the branch must be at, or the beginning of its id.

        Raises:
            Stale: the branch is not at `parent`.
            NoRevision: there is no such branch.
            Invalid, NoEntry: the changes cannot be made.
        """
        with self._lock:
            names = self._pulls if branch in self._pulls else self._branches
            branch = branch.removeprefix("refs/heads/")
            if branch not in names:
                raise NoRevision(branch)
            head = self._commits[names[branch]]
            if parent is not None and not _is(head, parent):
                raise Stale
            by = author or self.author
            made = self._add(head.files, changes, (head.id,), title, description, by)
            names[branch] = made.id
            return made

    def propose(
        self,
        changes: Iterable[Change],
        title: str,
        *,
        description: str = "",
        author: str | None = None,
        onto: str = MAIN,
    ) -> tuple[int, Commit]:
        """Open a pull request of one commit on `onto`; its number, and its commit."""
        with self._lock:
            head = self.resolve(onto)
            by = author or self.author
            made = self._add(head.files, changes, (head.id,), title, description, by)
            number = len(self._pulls) + 1
            self._pulls[f"refs/pr/{number}"] = made.id
            return number, made

    def close(self, pull: str) -> None:
        """Turn down a pull request, refs/pr/1; its reference stays."""
        with self._lock:
            self._require_open(pull)
            self._ended[pull] = "closed"

    def merge(self, pull: str) -> Commit:
        """Take what a pull request, refs/pr/1, changes into main, by one commit; it stays.

        Raises:
            Stale: main has changed a file of those in the meantime.
            Invalid: it is not open.
        """
        with self._lock:
            self._require_open(pull)
            before = {commit.id: commit for commit in self.history(MAIN)}
            (base, *_) = (before[made.id] for made in self.history(pull) if made.id in before)
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
        """What has become of a pull request."""
        return self._ended.get(pull, "open")

    def tag(self, name: str, revision: str = MAIN) -> None:
        """Give a commit a name that stays with it; Exists, if it is another's or its own."""
        self._name(self._tags, name, revision, "Tag")

    def branch(self, name: str, revision: str = MAIN) -> None:
        """Begin a branch at a commit; Exists, if there is one of that name."""
        self._name(self._branches, name, revision, "Branch")

    def delete_tag(self, name: str) -> None:
        """Forget a tag; its commit stays."""
        with self._lock:
            if self._tags.pop(name, None) is None:
                raise NoRevision(name)

    def delete_branch(self, name: str) -> None:
        """Forget a branch, which cannot be main; its commits stay."""
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

    def _name(self, names: dict[str, str], name: str, revision: str, what: str) -> None:
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name!r} cannot be the name of a {what.lower()}")
        with self._lock:
            target = self.resolve(revision).id
            if name in names:
                raise Exists(f"{what} reference exists already")
            names[name] = target

    def _add(
        self,
        files: Mapping[str, Entry],
        changes: Iterable[Change],
        parents: tuple[str, ...],
        title: str,
        description: str,
        author: str,
    ) -> Commit:
        made = seal(
            changed(files, changes),
            parents=parents,
            title=title,
            description=description,
            author=author,
            date=self._clock(),
        )
        self._commits[made.id] = made
        return made


def _is(commit: Commit, name: str) -> bool:
    return len(name) >= SHORTEST and commit.id.startswith(name)
