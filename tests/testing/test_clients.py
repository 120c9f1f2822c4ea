"""The real clients, as they are, beside the Hub: whole sessions, and what they do with faults."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import client_session
import huggingface_hub
import libraries_session
import pytest
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

import hubs
import tiny_runs
from d3data.testing import Answer, Cut, Drop, Flip, LocalHub, User
from d3data.testing.git import Delete, Put
from d3data.testing.refusals import Invalid, NoRevision, Stale

HERE = Path(__file__).parent
OLD = "1.31"  # of huggingface_hub, the first that pyproject.toml permits
SORT = {"repo_type": "dataset"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    """A Hub with one data set, which this process talks to."""
    with LocalHub() as hub, hub.using(tmp_path / "home"):
        hub.create("me/x", {"a.txt": b"0123456789", "d/b.txt": b"b"})
        yield hub


@pytest.fixture(params=["this", "old"])
def client(request: pytest.FixtureRequest) -> str:
    """The folder of a huggingface_hub: nothing for the one that is here, or that of an older."""
    return "" if request.param == "this" else request.getfixturevalue("old")


@pytest.fixture(scope="session")
def old(pytestconfig: pytest.Config) -> str:
    """The oldest client that d3data takes; fetched once, where D3DATA_OLD_HUB=1 or a soak asks."""
    if not (os.environ.get("D3DATA_OLD_HUB") or tiny_runs.soaking()):
        pytest.skip("D3DATA_OLD_HUB=1 does not ask for the older huggingface_hub")
    folder = pytestconfig.cache.mkdir("old-hub") / OLD
    if (folder / "huggingface_hub").is_dir():
        return str(folder)
    half, wanted = folder.with_suffix(".half"), f"huggingface_hub=={OLD}.*"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    made = subprocess.run(
        [*pip, "--retries", "1", "--timeout", "10", "--upgrade", "--target", str(half), wanted],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        reason = made.stderr.strip().rpartition("\n")[2]
        pytest.skip(f"{wanted} cannot be installed: {reason}")
    half.replace(folder)
    return str(folder)


def session(hub: LocalHub, client: str, script: str, folder: Path) -> dict[str, object]:
    """What a script printed last, run by a process with that client that talks to the Hub."""
    run = subprocess.run(
        [sys.executable, str(HERE / script), str(folder / "work")],
        env={
            **os.environ,
            **hub.environment(folder / "home"),
            "PYTHONPATH": os.pathsep.join(filter(None, (client, str(HERE.parents[1])))),
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, f"{run.stderr}\n{hub.requests}"
    return json.loads(run.stdout.splitlines()[-1])


def test_a_whole_session(client: str, tmp_path: Path) -> None:
    with LocalHub(page=3, part_bytes=4_000_000) as hub:
        cut = hub.faults.add(Cut(10_500_000), method="GET", path="*/cut.bin")
        found = session(hub, client, "client_session.py", tmp_path)
        resumed = hub.requests.matching("GET", "*/cut.bin")[-1]
        parts = hub.requests.count("PUT", "*/3")
        strangers = [request for request in hub.requests if request.status == 500]
    assert found["passed"] == client_session.STEPS
    assert found["client"].startswith(OLD if client else "")
    assert (cut.hits, parts, strangers) == (1, 1, [])
    assert (resumed.headers.get("range"), resumed.status) == ("bytes=10485760-", 206)
    assert resumed.where == "storage"
    tokens = [r for r in hub.requests if r.where == "storage" and "authorization" in r.headers]
    assert not tokens


@pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
def test_a_whole_session_in_this_process(tmp_path: Path) -> None:
    with LocalHub(redirect=False) as hub, hub.using(tmp_path / "home"):
        hub.faults.add(Cut(10_500_000), method="GET", path="*/cut.bin")
        assert client_session.run(tmp_path) == client_session.STEPS
        assert {request.where for request in hub.requests.matching("GET")} == {"hub"}


def test_a_session_of_d3data_and_datasets_with_an_older_client(old: str, tmp_path: Path) -> None:
    with LocalHub() as hub:
        found = session(hub, old, "libraries_session.py", tmp_path)
    assert found["client"].startswith(OLD)
    assert len(found["passed"]) == len(libraries_session.STEPS) == 6


@pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
def test_a_session_of_d3data_and_datasets_in_this_process(tmp_path: Path) -> None:
    with LocalHub() as hub, hub.using(tmp_path / "home"):
        for step in libraries_session.STEPS:
            step(tmp_path / "work")


def test_what_a_pinned_download_asks_for(hub: LocalHub) -> None:
    hub.repo("me/x").tag("v1")
    snapshot_download("me/x", revision="v1", **SORT)
    assert (hub.requests.count("HEAD"), hub.requests.count("GET")) == (3, 5)
    hub.requests.clear()
    snapshot_download("me/x", revision="v1", **SORT)
    assert [str(request) for request in hub.requests] == [
        "GET /api/datasets/me/x/revision/v1 -> 200"
    ]
    hub.requests.clear()
    snapshot_download("me/x", revision=hub.repo("me/x").head, **SORT)
    assert len(hub.requests) == 0


def test_a_lost_reply_leaves_a_commit_behind(hub: LocalHub) -> None:
    before = hub.repo("me/x").head
    hub.faults.add(Drop(acted=True), path="*/commit/main")
    upload = {"path_or_fileobj": b"new", "path_in_repo": "new.txt", "repo_id": "me/x", **SORT}
    with pytest.raises(Exception, match="disconnected"):
        HfApi().upload_file(**upload, parent_commit=before)
    assert hub.repo("me/x").files()["new.txt"] == b"new"
    HfApi().upload_file(**upload, parent_commit=before)  # nothing is left to commit
    assert len(list(hub.repo("me/x").history())) == 3
    changed = {**upload, "path_or_fileobj": b"newer", "parent_commit": before}
    with pytest.raises(HfHubHTTPError, match="A commit has happened since"):
        HfApi().upload_file(**changed)


def test_a_pull_request_that_is_turned_down(hub: LocalHub) -> None:
    repository = hub.repo("me/x")
    for author in ("me", "you"):
        repository.propose([], "please", author=author)
    repository.close("refs/pr/1")

    def listed(**options: Any) -> list[tuple[int, str]]:
        found = HfApi().get_repo_discussions("me/x", **SORT, **options)
        return [(pull.num, pull.status) for pull in found]

    assert listed() == [(2, "open"), (1, "closed")]
    assert listed(discussion_status="open") == listed(author="you") == [(2, "open")]
    assert listed(discussion_status="closed") == listed(author="me") == [(1, "closed")]
    assert set(repository.pulls) == {"refs/pr/1", "refs/pr/2"}
    with pytest.raises(NoRevision):
        repository.close("refs/pr/3")


def test_a_pull_request_that_is_merged(hub: LocalHub) -> None:
    repository = hub.repo("me/x")
    repository.propose([Put("a.txt", repository.keep(b"new")), Delete("d/b.txt")], "please")
    repository.commit([Put("c.txt", repository.keep(b"c"))], "in the meantime")
    merged = repository.merge("refs/pr/1")
    assert (merged.id, merged.title) == (repository.head, "please")
    del (files := repository.files())[".gitattributes"]
    assert files == {"a.txt": b"new", "c.txt": b"c"}
    (found,) = HfApi().get_repo_discussions("me/x", **SORT)
    assert found.status == "merged"
    for end in (repository.merge, repository.close):
        with pytest.raises(Invalid, match="is merged already"):
            end("refs/pr/1")
    repository.propose([Put("a.txt", repository.keep(b"theirs"))], "please", onto=merged.id)
    repository.commit([Put("a.txt", repository.keep(b"ours"))], "in the meantime")
    with pytest.raises(Stale):
        repository.merge("refs/pr/2")
    assert repository.status("refs/pr/2") == "open"


def test_a_tired_hub_is_asked_again(hub: LocalHub) -> None:
    rule = hub.faults.add(Answer(503, headers={"Retry-After": "0"}), path="*/tree/*", times=2)
    assert len(list(HfApi().list_repo_tree("me/x", **SORT))) == 3
    assert (rule.hits, hub.requests.count(path="*/tree/*")) == (2, 3)


def test_errors_are_raised_as_they_come(hub: LocalHub) -> None:
    for status in (401, 403, 404, 409, 429, 500):
        hub.faults.add(Answer(status, message="no luck"))
        with pytest.raises(HfHubHTTPError, match="no luck") as failure:
            HfApi().dataset_info("me/x")
        assert failure.value.response.status_code == status
    hub.faults.add(Answer(404, code="RepoNotFound"))
    with pytest.raises(RepositoryNotFoundError):
        HfApi().dataset_info("me/x")


def test_the_client_takes_a_flipped_byte_and_a_check_finds_it(hub: LocalHub) -> None:
    hub.faults.add(Flip(3), method="GET", path="*/a.txt")
    path = hf_hub_download("me/x", "a.txt", **SORT)
    assert Path(path).read_bytes() == b"012\xcc456789"
    snapshot_download("me/x", **SORT)
    found = HfApi().verify_repo_checksums("me/x", **SORT)
    assert [mismatch["path"] for mismatch in found.mismatches] == ["a.txt"]


def test_users_have_their_own_sessions(tmp_path: Path) -> None:
    you = User("you", "hf_you")
    with LocalHub(users=(User("me", "hf_me"), you)) as hub:
        for user, name in (("first", "me"), (you, "you")):
            with hub.using(tmp_path / "home", user=user):
                assert HfApi().whoami()["name"] == name
        with hub.using(tmp_path / "home", user="nobody"):
            assert huggingface_hub.get_token() is None


def settings() -> dict[str, object]:
    from huggingface_hub.utils import _cache_assets, _cache_manager

    found = {f"constants.{name}": value for name, value in vars(constants).items()}
    found["assets"] = _cache_assets.HF_ASSETS_CACHE
    found["cache"] = _cache_manager.HF_HUB_CACHE
    found["api"] = huggingface_hub.hf_api.api.endpoint
    found["environment"] = dict(os.environ)
    return found


def test_this_process_is_as_before_afterwards(tmp_path: Path) -> None:
    before = settings()
    with LocalHub() as hub:
        with contextlib.suppress(ZeroDivisionError), hub.using(tmp_path):
            inside = settings()
            raise ZeroDivisionError
        assert inside["constants.ENDPOINT"] == inside["api"] == hub.endpoint
    assert inside["assets"] == inside["constants.HF_ASSETS_CACHE"] == str(tmp_path / "assets")
    assert inside["cache"] == inside["constants.HF_HUB_CACHE"] == str(tmp_path / "hub")
    assert inside["constants.HF_HUB_DISABLE_XET"] is True
    assert settings() == before


def test_datasets_in_this_process_is_told_too(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from d3data.testing import LocalHub
home = Path({str(tmp_path)!r})
with LocalHub() as hub:
    for imported in ("inside", "before"):
        with hub.using(home):
            from datasets import config
            assert config.HF_ENDPOINT == hub.endpoint, imported
            assert config.HF_DATASETS_CACHE == home / "datasets", imported
            assert config.HUB_DATASETS_URL.startswith(hub.endpoint), imported
        assert config.HF_ENDPOINT == "https://huggingface.co", imported
        assert config.HUB_DATASETS_URL.startswith("https://huggingface.co"), imported
        assert config.HF_DATASETS_CACHE == Path("elsewhere/datasets"), imported
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "HF_HOME": "elsewhere"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
