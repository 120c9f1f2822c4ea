"""Laws of repositories: what was committed or tagged stays; what is refused changes nothing."""

import hashlib
import os
import random
from collections.abc import Callable

import pytest

from d3data.testing.git import Change, Delete, Put, git_name, pointer
from d3data.testing.refusals import Exists, NoRevision, Stale
from d3data.testing.repository import Store

SEEDS = range(200 if os.environ.get("D3DATA_SOAK") == "1" else 12)
PATHS = ("a", "b.txt", "deep/a", "deep/er/b", "deep/er/c.bin", "deeper")
NAMES = ("v1", "v2", "v3", "side", "other/side")


class Walk:
    """A random walk over what may be done to a repository, beside the simplest model of it."""

    def __init__(self, seed: int) -> None:
        self.random, self.store = random.Random(seed), Store()
        self.repository = self.store.create("dataset", "me/x", author="me")
        self.trees = {self.repository.head: self.repository.files()}  # of commits, for ever
        self.branches, self.tags = self.repository.branches, dict[str, str]()

    def changes(self, files: dict[str, bytes]) -> list[Change]:
        """Changes, made to `files` too."""
        made: list[Change] = []
        for _ in range(self.random.randint(0, 3)):
            if files and self.random.random() < 0.3:
                path = self.random.choice(sorted(files))
                del files[path]
                made.append(Delete(path))
            else:
                path, content = self.random.choice(PATHS), self.random.randbytes(1)
                files[path] = content
                large = path.endswith(".bin")
                made.append(Put(path, self.repository.keep(content, large=large)))
        return made

    def commit(self) -> None:
        branch = self.random.choice(sorted(self.branches))
        files = dict(self.trees[self.branches[branch]])
        changes, parent = self.changes(files), self.random.choice([*self.trees, None])
        if parent in (None, self.branches[branch]):
            made = self.repository.commit(changes, "t", branch=branch, parent=parent)
            assert made.parents == (self.branches[branch],)
            assert made.id not in self.trees
            self.trees[made.id], self.branches[branch] = files, made.id
        else:
            with pytest.raises(Stale):
                self.repository.commit(changes, "t", branch=branch, parent=parent)

    def propose(self) -> None:
        onto = self.random.choice(sorted(self.trees))
        files = dict(self.trees[onto])
        number, made = self.repository.propose(self.changes(files), "t", onto=onto)
        self.trees[made.id] = files
        assert self.repository.pulls[f"refs/pr/{number}"] == made.id

    def tag(self) -> None:
        self._name(self.tags, self.repository.tag)

    def branch(self) -> None:
        self._name(self.branches, self.repository.branch)

    def delete_tag(self) -> None:
        name = self.random.choice(NAMES)
        if name in self.tags:
            self.repository.delete_tag(name)
            del self.tags[name]
        else:
            with pytest.raises(NoRevision):
                self.repository.delete_tag(name)

    def _name(self, names: dict[str, str], give: Callable[[str, str], None]) -> None:
        name, target = self.random.choice(NAMES), self.random.choice(sorted(self.trees))
        if name in names:
            with pytest.raises(Exists):
                give(name, target)
        else:
            give(name, target)
            names[name] = target

    def check(self) -> None:
        assert (self.repository.branches, self.repository.tags) == (self.branches, self.tags)
        contents = set()
        for name, files in self.trees.items():
            assert self.repository.files(name) == files
            for path, entry in self.repository.resolve(name).files.items():
                contents.add(files[path])
                text = pointer(entry.sha256, entry.size) if entry.large else files[path]
                assert entry.oid == git_name("blob", text)
                assert entry.sha256 == hashlib.sha256(files[path]).hexdigest()
                assert entry.size == len(files[path])
        assert len(contents) <= len(self.store.blobs) <= 257  # one byte each, and .gitattributes


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_walk_keeps_the_laws(seed: int) -> None:
    walk = Walk(seed)
    moves = (walk.commit, walk.commit, walk.propose, walk.tag, walk.branch, walk.delete_tag)
    for _ in range(40):
        walk.random.choice(moves)()
        walk.check()
