"""Repositories: what they take and refuse, and how things in them are called."""

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from d3data.testing import Repository
from d3data.testing.git import Delete, Put
from d3data.testing.refusals import Exists, Forbidden, Invalid, NoEntry, NoRevision, Stale
from d3data.testing.repository import Blobs, Store


@pytest.fixture
def repository() -> Repository:
    return Store().create("dataset", "me/x", author="me")


def put(repository: Repository, path: str, content: bytes, *, large: bool = False) -> Put:
    return Put(path, repository.keep(content, large=large))


def test_the_same_requests_make_the_same_commits(repository: Repository) -> None:
    other = Store().create("dataset", "me/x", author="me")
    for made in (repository, other):
        made.commit([put(made, "a", b"1")], "one")
    assert repository.head == other.head


def test_a_tree_cannot_be_changed(repository: Repository) -> None:
    commit = repository.resolve("main")
    for mapping in (commit.files, commit.folders):
        with pytest.raises(TypeError):
            mapping["a"] = ""  # type: ignore[index]
    repository.tags["v1"] = repository.head
    assert repository.tags == {}


def test_contents_are_kept_once() -> None:
    blobs = Blobs()
    assert blobs.put(b"a") == blobs.put(bytearray(b"a")) == hashlib.sha256(b"a").hexdigest()
    assert (len(blobs), blobs[blobs.put(b"a")]) == (1, b"a")
    changing = bytearray(b"b")
    name = blobs.put(changing)
    changing[0] = 0
    assert blobs[name] == b"b"


@pytest.mark.parametrize("path", ["", "/a", "a//b", "a/../b", ".", "..", ".git/config", "a/."])
def test_paths_stay_inside(repository: Repository, path: str) -> None:
    with pytest.raises(Invalid, match="is not a path"):
        repository.commit([put(repository, path, b"")], "t")


@pytest.mark.parametrize("first", ["a", "a/b/c"])
def test_a_file_is_not_a_folder_too(repository: Repository, first: str) -> None:
    repository.commit([put(repository, first, b"1")], "t")
    head = repository.head
    with pytest.raises(Invalid, match="is a file"):
        repository.commit([put(repository, "a/b" if first == "a" else "a/b/c/d", b"2")], "t")
    assert repository.head == head


def test_changes_come_one_after_the_other(repository: Repository) -> None:
    repository.commit([put(repository, "a/b", b"1"), put(repository, "a/c", b"2")], "t")
    repository.commit([Delete("a/", folder=True), put(repository, "a/c", b"3")], "t")
    assert {path: text for path, text in repository.files().items() if path[0] == "a"} == {
        "a/c": b"3"
    }
    for missing in (Delete("a/b"), Delete("b", folder=True), Delete("a")):
        with pytest.raises(NoEntry):
            repository.commit([missing], "t")


def test_a_parent_may_be_short_but_not_too_short(repository: Repository) -> None:
    repository.commit([], "t", parent=repository.head[:7])
    for parent in (repository.head[:6], "", "main"):
        with pytest.raises(Stale):
            repository.commit([], "t", parent=parent)


@pytest.mark.parametrize("revision", ["nowhere", "", "0" * 40, "refs/pr/1", "refs/heads/none"])
def test_a_revision_that_is_none(repository: Repository, revision: str) -> None:
    with pytest.raises(NoRevision):
        repository.resolve(revision)


def test_all_ways_to_write_a_revision(repository: Repository) -> None:
    head = repository.head
    repository.tag("v1")
    for revision in ("main", "v1", head, head[:7], "refs/heads/main", "refs/tags/v1"):
        assert repository.resolve(revision).id == head
    with pytest.raises(Forbidden):
        repository.delete_branch("main")


@pytest.mark.parametrize("name", ["", "a b", "a..b", "-a", "a/", "a//b", "a.lock", "a/.b", "ä~"])
def test_names_that_git_does_not_take(repository: Repository, name: str) -> None:
    for give in (repository.tag, repository.branch):
        with pytest.raises(Invalid, match="cannot be the name"):
            give(name)


@pytest.mark.parametrize(
    "name", ["x", "a/b/c", "a/-b", "a/b.", "a/b--c", "a/b..c", "a/b.git", "/b"]
)
def test_names_that_the_hub_does_not_take(name: str) -> None:
    with pytest.raises(Invalid, match="is not a name"):
        Store().create("dataset", name, author="me")


def test_kinds_have_names_of_their_own() -> None:
    store = Store()
    made = {store.create(kind, "me/x", author="me") for kind in ("dataset", "model", "space")}
    assert len(made) == 3
    with pytest.raises(Exists):
        store.create("model", "me/x", author="me")


def test_a_moved_repository_is_found_under_both_names_until_one_is_given_anew() -> None:
    store = Store()
    moved = store.create("dataset", "me/a", author="me")
    store.move(moved, "me/b")
    store.move(moved, "me/c")
    assert store.find("dataset", "me/a") is store.find("dataset", "me/b") is moved
    other = store.create("dataset", "me/a", author="me")
    assert store.find("dataset", "me/a") is other
    assert store.find("dataset", "me/b") is moved
    store.move(moved, "me/b")
    assert store.find("dataset", "me/c") is moved


@pytest.fixture
def _many_switches() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_many_switches")
@pytest.mark.parametrize("parent", ["stated", "not stated"])
def test_of_many_commits_at_once_none_is_lost(repository: Repository, parent: str) -> None:
    head = repository.head if parent == "stated" else None

    def commit(number: int) -> int:
        with contextlib.suppress(Stale):
            repository.commit([put(repository, f"f{number}", b"")], "t", parent=head)
            return 1
        return 0

    with ThreadPoolExecutor(16) as pool:
        made = sum(pool.map(commit, range(16)))
    assert made == (1 if parent == "stated" else 16)
    assert len(list(repository.history())) == made + 1
    assert len(repository.files()) == made + 1


def git(folder, *arguments: str, **environment: str) -> str:
    run = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def test_names_are_those_of_git(repository: Repository, tmp_path) -> None:
    files = {"a": b"1", "a.b": b"2", "a-/x": b"3", "b/c/d": b"\0\xff", "b/c.d": b"", "ü": b"4"}
    repository.commit([put(repository, *pair) for pair in files.items()], "title", description="x")
    git(tmp_path, "init", "--quiet")
    parent = []
    for commit in reversed(list(repository.history())):
        for path, content in repository.files(commit.id).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content)
        git(tmp_path, "add", "--all", "--force")
        tree = git(tmp_path, "write-tree")
        assert commit.folders[""] == tree
        message = "\n\n".join(filter(None, (commit.title, commit.description)))
        date = f"{int(commit.date.timestamp())} +0000"
        author = {"NAME": "me", "EMAIL": "me@localhost", "DATE": date}
        who = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in author.items()}
        (tmp_path / ".git" / "message").write_text(message)
        words = ["commit-tree", tree, *parent, "-F", str(tmp_path / ".git" / "message")]
        made = git(tmp_path, *words, **who)
        assert made == commit.id
        parent = ["-p", made]
