"""How files come in and go out, request by request: what a client does not do, and what it may."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from http_client import ask
from huggingface_hub import CommitOperationAdd, HfApi

import hubs
from d3data.testing import LocalHub
from d3data.testing.refusals import Invalid
from d3data.testing.rules import is_ignored, is_large, metadata, tags

API, LFS = "/api/datasets/me/x", "/datasets/me/x.git/info/lfs"
LARGE = b"\0" * 25
SHA256 = hashlib.sha256(LARGE).hexdigest()


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with LocalHub(part_bytes=10, page=2) as hub:
        hub.create("me/x")
        yield hub


def batch(hub: LocalHub, content: bytes, transfers=("basic", "multipart")):
    """The actions for an object; None where it is there."""
    thing = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
    asked = {"operation": "upload", "transfers": transfers, "objects": [thing]}
    status, found, _ = ask(hub, "POST", f"{LFS}/objects/batch", asked)
    assert (status, found["objects"][0]["oid"]) == (200, thing["oid"])
    return found["objects"][0].get("actions")


def commit(hub: LocalHub, *operations, header=("header", {"summary": "s"})):
    lines = [{"key": key, "value": value} for key, value in (header, *operations)]
    body = "\n".join(map(json.dumps, lines)).encode()
    return ask(hub, "POST", f"{API}/commit/main", body)


def file(path: str, content: bytes):
    text = base64.b64encode(content).decode()
    return "file", {"path": path, "content": text, "encoding": "base64"}


def test_an_object_goes_up_in_one_piece_or_in_parts(hub: LocalHub) -> None:
    assert "header" not in batch(hub, LARGE, transfers=["basic"])["upload"]
    assert "header" not in batch(hub, LARGE[:10])["upload"]
    upload = batch(hub, LARGE)["upload"]
    assert sorted(upload["header"]) == ["1", "2", "3", "chunk_size"]
    parts = []
    for number in (1, 2, 3):
        part = LARGE[10 * (number - 1) : 10 * number]
        status, _, headers = ask(hub, "PUT", upload["header"][str(number)], part)
        parts.append({"partNumber": number, "etag": headers["ETag"]})
        assert status == 200
    wrong = {"oid": SHA256, "parts": [*parts[:2], {"partNumber": 3, "etag": '"0"'}]}
    assert ask(hub, "POST", upload["href"], wrong)[0] == 400
    short = {"oid": SHA256, "parts": parts[:2]}
    assert ask(hub, "POST", upload["href"], short)[0] == 400
    assert batch(hub, LARGE) is not None
    assert ask(hub, "POST", upload["href"], {"oid": SHA256, "parts": parts})[0] == 200
    assert batch(hub, LARGE) is None


def test_an_object_is_what_its_name_says(hub: LocalHub) -> None:
    actions = batch(hub, LARGE, transfers=["basic"])
    status, found, _ = ask(hub, "PUT", actions["upload"]["href"], b"something else")
    assert (status, "has sha256" in found["error"]) == (400, True)
    verify = urlsplit(actions["verify"]["href"]).path
    assert verify == f"{LFS}/verify"
    assert ask(hub, "POST", verify, {"oid": SHA256, "size": 25})[0] == 404
    assert ask(hub, "PUT", actions["upload"]["href"], LARGE)[0] == 200
    assert ask(hub, "POST", verify, {"oid": SHA256, "size": 25})[0] == 200
    assert ask(hub, "POST", verify, {"oid": SHA256, "size": 24})[0] == 400


def test_objects_are_of_one_repository_and_of_its_writers(hub: LocalHub) -> None:
    ask(hub, "PUT", batch(hub, LARGE, ["basic"])["upload"]["href"], LARGE)
    hub.create("me/y")
    other = {"operation": "upload", "objects": [{"oid": SHA256, "size": 25}]}
    _, found, _ = ask(hub, "POST", f"{LFS.replace('me/x', 'me/y')}/objects/batch", other)
    assert "actions" in found["objects"][0]
    assert ask(hub, "POST", f"{LFS}/objects/batch", other, token="")[0] == 401
    assert ask(hub, "POST", f"{LFS}/verify", other["objects"][0], token="")[0] == 401
    assert ask(hub, "POST", f"{LFS}/objects/batch", {"operation": "download"})[0] == 400


def test_a_large_file_is_elsewhere_under_its_own_name(hub: LocalHub) -> None:
    repository = hub.repo("me/x")
    ask(hub, "PUT", batch(hub, LARGE, ["basic"])["upload"]["href"], LARGE)
    status, found, _ = commit(hub, ("lfsFile", {"path": "d/l.bin", "oid": SHA256}))
    assert (status, found["commitOid"]) == (200, repository.head)
    status, _, headers = ask(hub, "HEAD", "/datasets/me/x/resolve/main/d/l.bin")
    entry = repository.resolve("main").files["d/l.bin"]
    assert (status, headers["X-Linked-ETag"], headers["X-Linked-Size"]) == (
        *(302, f'"{SHA256}"', "25"),
    )
    assert (headers["ETag"], headers["X-Repo-Commit"]) == (f'"{entry.oid}"', repository.head)
    where = urlsplit(headers["Location"])
    assert where.hostname == "localhost"
    assert where.netloc != urlsplit(hub.endpoint).netloc
    assert where.path.endswith("/l.bin")
    status, content, headers = ask(hub, "GET", headers["Location"])
    assert (status, content, headers["ETag"]) == (200, LARGE, f'"{SHA256}"')
    assert ask(hub, "GET", where.geturl().replace(SHA256, "0" * 64))[0] == 404


@pytest.mark.parametrize(
    ("operations", "status", "message"),
    [
        ([("lfsFile", {"path": "a", "oid": "0" * 64})], 400, "was not uploaded"),
        ([file("README.md", b"---\na: [\n---\n")], 400, "cannot be read"),
        ([file("ok", b""), ("deletedFile", {"path": "none"})], 404, "doesn't exist"),
        ([file("ok", b""), file("../a", b"")], 400, "is not a path"),
        ([("renamed", {"path": "a"})], 400, "is not an operation"),
    ],
)
def test_a_commit_is_made_whole_or_not_at_all(
    hub: LocalHub, operations, status: int, message: str
) -> None:
    before = hub.repo("me/x").branches
    found = commit(hub, *operations)
    assert (found[0], message in found[1]["error"]) == (status, True)
    assert hub.repo("me/x").branches == before
    found = commit(hub, header=file("a", b""))
    assert (found[0], found[1]["error"]) == (400, "the first line of a commit is its header")
    assert ask(hub, "POST", f"{API}/commit/main", b"{")[0] == 400


def test_what_is_there_is_told_before_an_upload(hub: LocalHub) -> None:
    commit(hub, file("a.txt", b"a"))
    sample = base64.b64encode(b"a").decode()
    files = [{"path": path, "sample": sample, "size": 1} for path in ("a.txt", "b.txt", "c.bin")]
    _, found, _ = ask(hub, "POST", f"{API}/preupload/main", {"files": files})
    told = {file["path"]: (file["uploadMode"], file.get("oid")) for file in found["files"]}
    oid = "2e65efe2a145dda7ee51d1741299f848e5bf752e"  # of a blob "a", says git
    assert told == {"a.txt": ("regular", oid), "b.txt": ("regular", None), "c.bin": ("lfs", None)}
    assert ask(hub, "POST", f"{API}/preupload/none", {"files": files})[0] == 404


ATTRIBUTES = "*.bin filter=lfs -text\n# all of it\n*.txt text\ndata/* filter=lfs\nx.bin -filter\n"


@pytest.mark.parametrize(
    ("path", "sample", "size", "large"),
    [
        ("a.txt", b"a", 1, False),
        ("a.txt", b"a", 100, False),
        ("a.txt", b"a", 101, True),
        ("a.bin", b"a", 1, True),
        ("d/e/a.bin", b"a", 1, True),
        ("d/x.bin", b"a", 1, False),
        ("a.bin", b"", 0, False),
        ("data/a", b"a", 1, True),
        ("d/data", b"a", 1, False),
        ("a", b"\xff", 1, True),
        ("a", b"a\0b", 3, True),
        ("a", "ü".encode(), 2, False),
        ("a", "ü".encode()[:1], 2, False),
    ],
)
def test_which_files_are_large(path: str, sample: bytes, size: int, large: bool) -> None:
    words = {"attributes": ATTRIBUTES, "large_above": 100}
    assert is_large(path, sample=sample, size=size, **words) == large


@pytest.mark.parametrize(
    ("readme", "found"),
    [
        ("", {}),
        ("# No head", {}),
        ("---\n\n---\n", {}),
        ("---\nlicense: mit\n---\n# x", {"license": "mit"}),
        ("---\r\nlicense: mit\r\n---\r\n", {"license": "mit"}),
        ("---\na: 1\n---", {"a": 1}),
        ("x\n---\na: 1\n---\n", {}),
    ],
)
def test_the_head_of_a_card(readme: str, found: dict[str, object]) -> None:
    assert metadata(readme) == found


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        *(
            (f"a: {value}", "cannot be read")
            for value in ("!!bool x", "!!int ''", "!!timestamp x")
        ),
        ("a: [", "line 1"),
        ("a: b: c", "mapping values are not allowed"),
        ("- a", "is not a mapping"),
        ("tags: d3data", '"tags" must be an array'),
        ("configs:\n  a: 1", '"configs" must be an array'),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_the_head_of_a_card_may_be_wrong(head: str, fault: str) -> None:
    with pytest.raises(Invalid, match=fault):
        metadata(f"---\n{head}\n---\n")


@pytest.mark.parametrize(
    ("path", "rules", "ignored"),
    [
        ("preview/a.parquet", "*.parquet", True),
        ("preview/a.parquet", "# *.parquet\n\n", False),
        ("preview/a.parquet", "preview/", True),
        ("preview", "preview/", False),
        ("a/preview/b/c", "preview", True),
        ("preview/a.parquet", "/preview", True),
        ("a/preview/b", "/preview", False),
        ("preview/a.parquet", "preview/*.parquet", True),
        ("preview/a.parquet", "*.parquet\n!preview/a.parquet", False),
        ("README.md", "*.parquet", False),
    ],
)
def test_which_files_are_left_out(path: str, rules: str, ignored: bool) -> None:
    assert is_ignored(path, rules) is ignored


@pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
def test_a_gitignore_leaves_files_out_of_commits(tmp_path: Path) -> None:
    with LocalHub() as hub, hub.using(tmp_path):
        hub.create("me/x", {".gitignore": b"*.bin\n"})
        for number, rules in enumerate((b"", b"*.txt")):
            adds = [CommitOperationAdd(f"{number}{end}", b"x") for end in (".bin", ".txt")]
            adds += [CommitOperationAdd(".gitignore", rules)] if rules else []
            HfApi().create_commit("me/x", adds, commit_message="x", repo_type="dataset")
        assert set(hub.repo("me/x").files()) == {".gitattributes", ".gitignore", "0.txt", "1.bin"}


def test_what_cards_are_found_by() -> None:
    card = {"tags": ["d3data"], "license": "mit", "task_categories": ["a", "b"]}
    assert tags(card) == ["d3data", "license:mit", "task_categories:a", "task_categories:b"]


def test_a_card_is_checked_for_anybody(hub: LocalHub) -> None:
    broken = {"content": "---\na: [\n---\n"}
    status, found, _ = ask(hub, "POST", "/api/validate-yaml", broken, token="")
    assert (status, len(found["errors"]), found["warnings"]) == (400, 1, [])
    status, found, _ = ask(hub, "POST", "/api/validate-yaml", {"content": "# x"}, token="")
    assert (status, found["errors"], len(found["warnings"])) == (200, [], 1)


def test_pages_are_linked_until_the_last(hub: LocalHub) -> None:
    commit(hub, *(file(f"f{number}", b"") for number in range(4)))
    where, sizes = f"{API}/tree/main?recursive=true&expand=false", []
    while where:
        _, found, headers = ask(hub, "GET", where.removeprefix(hub.endpoint))
        sizes.append(len(found))
        link = headers.get("Link", "")
        where = link.partition("<")[2].partition(">")[0]
        assert link.endswith('; rel="next"') == bool(where)
    assert sizes == [2, 2, 1]


def test_paths_may_be_asked_for_in_json(hub: LocalHub) -> None:
    body = {"paths": [".gitattributes", "none"]}
    form = {"Content-Type": "application/json"}
    _, found, _ = ask(hub, "POST", f"{API}/paths-info/main", body, **form)
    assert [entry["path"] for entry in found] == [".gitattributes"]


def test_what_is_put_there_without_a_client_is_as_if_by_one(hub: LocalHub) -> None:
    first = hub.commit("me/x", {"l.bin": LARGE, "a.txt": b"a", "big.txt": b"b"})
    second = hub.commit("me/x", {"a.txt": None, "b.txt": b"b"}, title="another")
    repository = hub.repo("me/x")
    assert [commit.id for commit in repository.history()][:2] == [second, first]
    files = repository.resolve("main").files
    assert {path: entry.large for path, entry in files.items()} == {
        ".gitattributes": False,
        "b.txt": False,
        "big.txt": False,
        "l.bin": True,
    }
    assert repository.resolve("main").title == "another"
