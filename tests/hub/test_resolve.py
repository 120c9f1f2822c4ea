"""From a name to a folder that is whole: how often the Hub is asked, and what may go wrong."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download

import d3data
import hubs
import made
from d3data.artifact.manifest import NAME
from d3data.errors import (
    FormatError,
    HubError,
    IntegrityError,
    NewerFormatError,
    NotCachedError,
    NotPublishedError,
    UnknownNameError,
    UnreachableError,
)
from d3data.hub import resolve
from d3data.hub.client import Blob, is_same
from d3data.testing import Answer, Cut, Drop, Fault, Flip, LocalHub, client

Patch = pytest.MonkeyPatch
Log = pytest.LogCaptureFixture

NEEDED = [NAME, *(f"parts/00{n}.safetensors" for n in range(3)), "golden.safetensors"]


def blob(folder: Path, path: str) -> Path:
    return Path(os.path.realpath(folder / path))


def test_a_listed_file_is_recognized_by_git_s_name_or_its_sha256() -> None:
    content = b"0123456789"
    small = Blob(10, "ad471007bd7f5983d273b9584e5629230150fd54", None)  # git hash-object
    for blob in (small, Blob(10, "1" * 40, hashlib.sha256(content).hexdigest())):
        assert is_same(blob, content)
        assert not is_same(blob, content[::-1])
        assert not is_same(replace(blob, size=11), content)
    assert not is_same(None, content)


def test_a_cold_pull_asks_for_what_is_needed_and_a_warm_load_for_nothing(
    hub: LocalHub, commit: str, toys: Path
) -> None:
    place = hubs.resolve("me/toys")
    assert len(hub.requests) <= 14
    asked = {request.path.partition(f"{commit}/")[2] for request in hub.requests.matching("HEAD")}
    assert asked == set(NEEDED)
    assert sorted(place.links) == sorted(NEEDED)
    assert {request.where for request in hub.requests} == {"hub", "storage"}
    agents = {request.headers["user-agent"].split(";")[0] for request in hub.requests}
    assert agents == {f"d3data/{d3data.__version__}"}
    hub.requests.clear()
    for name in ("me/toys@1.2.3", "me/toys@v1.2.3", f"me/toys@{commit}"):
        assert d3data.load(name).revision == commit
    assert len(hub.requests) == 0
    data, published = d3data.load("me/toys"), d3data.load(toys)
    assert (data.version, data.revision, data.card) == ("1.2.3", commit, None)
    assert hubs.images(data) == hubs.images(published)
    assert data.ledger.content_bytes == published.ledger.content_bytes
    assert [str(request) for request in hub.requests] == ["GET /api/datasets/me/toys/refs -> 200"]


def test_extras_are_fetched_when_they_are_asked_for(hub: LocalHub, commit: str) -> None:
    hubs.resolve("me/toys")
    hub.requests.clear()
    place = hubs.resolve("me/toys@1.2.3", extras=True)
    assert set(place.links) == {*NEEDED, "recipe.toml", "README.md"}
    assert place.not_downloaded(place.read().manifest) == []
    assert place.read().file("recipe.toml") == b"name = 'toys'\n"
    assert hub.requests.count("GET", "*/resolve/*") == 2
    hub.requests.clear()
    hubs.resolve("me/toys@1.2.3", extras=True)
    assert len(hub.requests) == 0
    assert d3data.load("me/toys@1.2.3").card == "# toys\n"


def test_the_bare_name_is_the_newest_version_and_never_a_branch(
    hub: LocalHub, commit: str, pixels: Path
) -> None:
    repository = hub.repo("me/toys")
    assert hubs.resolve("me/toys").revision == commit
    about = made.ABOUT.model_copy(update={"version": "1.10.0"})
    newer = made.write(pixels.parent / "newer", about=about)
    for tag, files in (("v1.10.0", hubs.files_of(newer.folder)), ("nightly", {"x": b"x"})):
        hub.commit("me/toys", files)
        repository.tag(tag)
    head = repository.head
    tagged = repository.tags["v1.10.0"]
    assert hubs.resolve("me/toys").revision == tagged
    assert hubs.resolve("me/toys@~=1.2").revision == tagged
    assert hubs.resolve("me/toys@<1.10").revision == commit
    assert hubs.resolve("me/toys@main").revision == head
    assert hubs.resolve("me/toys", revision="main").revision == head
    assert hubs.resolve("me/toys@nightly").revision == head


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("me/nothing", "no such data set, or it is private.*hf auth login"),
        ("me/toys@9.0.0", r"me/toys has the versions 1\.2\.3"),
        ("me/toys@>2", r"me/toys has the versions 1\.2\.3"),
        ("me/toys@nightly", "no such version, branch or commit"),
        (f"me/toys@{'0' * 40}", "no such version, branch or commit"),
        ("me/untagged", "no version, which is a tag.*me/untagged@main"),
        ("me/empty@main", "d3data.json of me/empty"),
    ],
)
def test_what_is_not_published(
    hub: LocalHub, commit: str, toys: Path, name: str, fault: str
) -> None:
    hubs.there(hub, toys, "me/untagged", tagged=False)
    hub.create("me/empty", {"x": b"x"})
    with pytest.raises(NotPublishedError, match=fault):
        hubs.resolve(name)


def test_without_a_listing_files_are_fetched_one_by_one(hub: LocalHub, commit: str) -> None:
    rule = hub.faults.add(Answer(403), path="*/tree/*", times=None)
    hubs.resolve("me/toys").check(golden=True)
    assert rule.hits == 1
    hub.faults.clear()
    hub.commit("me/toys", {NEEDED[2]: None})
    with pytest.raises(NotPublishedError, match=f"{NEEDED[2]} of me/toys at .*an incomplete one"):
        hubs.resolve("me/toys@main")


def test_a_private_set_needs_a_token(tmp_path: Path, toys: Path) -> None:
    with LocalHub() as hub:
        hub.create("me/secret", hubs.files_of(toys), private=True).tag("v1.2.3")
        with hub.using(tmp_path / "home", user="nobody"):
            with pytest.raises(NotPublishedError, match="or it is private"):
                hubs.resolve("me/secret")
            place = hubs.resolve("me/secret", token="hf_test")
            assert place.read().manifest.about.version == "1.2.3"


def test_a_tag_that_holds_another_version_is_refused(hub: LocalHub, toys: Path) -> None:
    hubs.there(hub, toys, tagged=False)
    hub.repo("me/toys").tag("v2.0.0")
    for name in ("me/toys", "me/toys@2.0.0"):
        with pytest.raises(IntegrityError, match=r"has version 1\.2\.3 under the tag v2\.0\.0"):
            hubs.resolve(name)


def test_a_branch_is_no_version(hub: LocalHub, commit: str) -> None:
    hub.commit("me/toys", {"x": b"x"})
    for name in ("v1.2.3", "v2.0.0"):
        hub.repo("me/toys").branch(name)
    for _ in range(2):  # the second finds in the cache what the first has noted there
        for name in ("me/toys@1.2.3", "me/toys", "me/toys@~=1.0"):
            assert hubs.resolve(name).revision == commit
    with pytest.raises(NotPublishedError, match=r"me/toys@2\.0\.0: .*has the versions 1\.2\.3$"):
        hubs.resolve("me/toys@2.0.0")


@pytest.mark.parametrize("path", [NAME, NEEDED[2], NEEDED[4]])
@pytest.mark.parametrize("fault", [Flip(100, bits=1), Cut(100)], ids=["flipped", "cut"])
def test_a_file_that_comes_broken_is_fetched_again(
    hub: LocalHub, commit: str, toys: Path, path: str, fault: Flip | Cut
) -> None:
    rule = hub.faults.add(fault, method="GET", path=f"*/{Path(path).name}")
    copy = hubs.resolve("me/toys")
    assert rule.hits == 1
    copy.check()
    assert all(copy.links[path].read_bytes() == (toys / path).read_bytes() for path in NEEDED)


@pytest.mark.parametrize("path", [NEEDED[0], NEEDED[2]])
def test_a_file_that_always_comes_broken_is_an_error_until_it_is_fetched_again(
    hub: LocalHub, commit: str, path: str
) -> None:
    broken = (IntegrityError, FormatError)
    hub.faults.add(Flip(9), method="GET", path=f"*/{Path(path).name}", times=None)
    with pytest.raises(broken):
        d3data.load("me/toys")
    hub.faults.clear()
    with pytest.raises(broken, match=r"`d3data pull --force me/toys@1\.2\.3`, or force_download"):
        d3data.load("me/toys@1.2.3")
    assert d3data.load("me/toys@1.2.3", force_download=True).revision == commit
    assert d3data.load("me/toys@1.2.3").revision == commit


def test_offline_the_cache_answers(hub: LocalHub, commit: str, monkeypatch: Patch) -> None:
    with pytest.raises(NotCachedError, match=r"me/toys is not in the cache .*nothing of it"):
        hubs.resolve("me/toys", local_files_only=True)
    hubs.resolve("me/toys@main")
    hubs.resolve("me/toys")
    hub.requests.clear()
    for offline in ({"local_files_only": True}, {}):
        if not offline:
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        for after in ("", "@1.2.3", "@~=1.0", "@main", f"@{commit}"):
            assert hubs.resolve(f"me/toys{after}", **offline).revision == commit
        with pytest.raises(NotCachedError, match=r"has 1\.2\.3.*HF_HUB_OFFLINE=1 or"):
            hubs.resolve("me/toys@2.0.0", **offline)
        with pytest.raises(NotCachedError, match=r"HF_HUB_OFFLINE=1 or"):
            hubs.resolve("me/toys", force_download=True, **offline)
    assert len(hub.requests) == 0


@pytest.mark.parametrize("path", [NAME, NEEDED[2]])
def test_a_partial_cache_says_what_is_missing_and_is_completed_online(
    hub: LocalHub, commit: str, path: str
) -> None:
    folder = hubs.resolve("me/toys").folder
    blob(folder, path).unlink()
    with pytest.raises(NotCachedError, match=path):
        d3data.load("me/toys@1.2.3", local_files_only=True)
    hub.requests.clear()
    assert d3data.load("me/toys@1.2.3").revision == commit
    asked = hub.requests.matching("HEAD", "*/resolve/*")
    assert [request.path for request in asked] == [f"/datasets/me/toys/resolve/{commit}/{path}"]


def test_a_version_is_known_to_the_cache_once_all_of_it_is_there(
    hub: LocalHub, commit: str, tmp_path: Path
) -> None:
    hubs.resolve("me/toys")
    about = made.ABOUT.model_copy(update={"version": "1.3.0"})
    newer = hubs.files_of(made.write(tmp_path / "newer", "pixels", about=about).folder)
    repository = hub.repo("me/toys")
    hub.commit("me/toys", newer)
    repository.tag("v1.3.0")
    hub.faults.add(Answer(500), path="*002.safetensors", times=None)
    for name in ("me/toys", "me/toys@1.3.0"):
        with pytest.raises(UnreachableError, match=f"me/toys at {repository.head}"):
            hubs.resolve(name)
    assert hubs.resolve("me/toys", local_files_only=True).revision == commit
    hub.faults.clear()
    assert hubs.resolve("me/toys").revision == repository.head
    assert hubs.resolve("me/toys", local_files_only=True).revision == repository.head


def test_what_the_client_got_by_itself_is_completed(hub: LocalHub, commit: str) -> None:
    hf_hub_download("me/toys", NAME, repo_type="dataset", revision="v1.2.3")
    with pytest.raises(NotCachedError, match=r"parts/000.*parts/001.*parts/002.*golden"):
        d3data.load("me/toys", local_files_only=True)
    assert d3data.load("me/toys@1.2.3").revision == commit


def test_a_cache_that_cannot_be_written_is_read(
    hub: LocalHub, commit: str, tmp_path: Path, pixels: Path
) -> None:
    hubs.there(hub, pixels, "me/pixels")
    names = ["me/toys", "me/toys@1.2.3", "me/pixels"]
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        home.chmod(0o755)
        snapshot_download("me/toys", revision=commit, repo_type="dataset", cache_dir=home / "hub")
        assert not (home / "hub" / "datasets--me--toys" / "refs").exists()
        done = hubs.run(
            hub.environment(home),
            tmp_path / "log",
            *(hubs.in_read_only, home, names, tmp_path / "elsewhere"),
        )
    assert done.error is None, done.message
    (one, _), (other, _), (nothing, told) = done.value
    assert (one, other, nothing) == (commit, commit, None)
    assert "the cache cannot be written" in told
    assert "HF_HUB_CACHE or cache_dir" in told


def test_when_the_hub_is_down_the_last_state_is_taken_with_a_warning(
    hub: LocalHub, commit: str, caplog: Log
) -> None:
    hubs.resolve("me/toys")
    hubs.resolve("me/toys@main")
    hub.stop()
    for name, ref in (("me/toys", "v1.2.3"), ("me/toys@main", "main"), ("me/toys@>1", "v1.2.3")):
        caplog.clear()
        assert hubs.resolve(name).revision == commit
        assert f"using the cached commit of {ref} of me/toys, {commit}" in caplog.text
    caplog.clear()
    assert hubs.resolve("me/toys@1.2.3").revision == commit
    assert caplog.text == ""
    for name in ("me/toys@1.0.0", "me/other", "me/toys@dev"):
        with pytest.raises(UnreachableError, match=r"does not answer.*HF_ENDPOINT"):
            hubs.resolve(name)
    with pytest.raises(UnreachableError):
        hubs.resolve("me/toys", force_download=True)
    assert caplog.text == ""


NOBODY = Answer(401, message="Invalid credentials in Authorization header")
REFUSALS = [
    (NOBODY, "AccessError", "hf auth login"),
    (Answer(403), "AccessError", "does not have permission"),
    (Answer(403, code="GatedRepo"), "AccessError", "has to be requested"),
    (Answer(404, code="RepoNotFound"), "NotPublishedError", "or it is private"),
    (Answer(418), "HubError", "made to fail"),
    (Answer(500), "UnreachableError", "try again later"),
    (Answer(503), "UnreachableError", "try again later"),
    (Answer(429), "UnreachableError", "too many requests"),
    (Drop(), "UnreachableError", "does not answer"),
]
BROKEN = [  # files that come so are fetched again
    (Cut(5), "UnreachableError", "does not answer"),
    (Flip(5), "HubError", "huggingface_hub failed"),
]
PLACES = ("*/refs", f"*/{NAME}", "*/parts/*")


@pytest.mark.parametrize(
    ("path", "fault", "error", "text"),
    [(PLACES[1], *row) for row in REFUSALS]
    + [(place, *row) for place in PLACES[::2] for row in REFUSALS[-2:]]
    + [(PLACES[0], *row) for row in BROKEN],
    ids=str,
)
def test_faults_of_the_hub_are_ours_and_say_what_to_do(
    hub: LocalHub, commit: str, path: str, fault: Fault, error: str, text: str
) -> None:
    hub.faults.add(fault, path=path, times=None)
    with pytest.raises(HubError, match=text) as failure:
        hubs.resolve("me/toys@1.2.3")
    assert type(failure.value).__name__ == error
    assert "me/toys" in str(failure.value)
    assert failure.value.__suppress_context__
    hub.faults.clear()
    assert hubs.resolve("me/toys@1.2.3").check().manifest.about.version == "1.2.3"


def test_a_moved_tag_is_told(hub: LocalHub, commit: str, caplog: Log) -> None:
    hubs.resolve("me/toys")
    repository = hub.repo("me/toys")
    hub.commit("me/toys", {"x": b"x"})
    repository.delete_tag("v1.2.3")
    repository.tag("v1.2.3")
    assert hubs.resolve("me/toys@1.2.3").revision == commit
    assert caplog.text == ""
    assert hubs.resolve("me/toys").revision == repository.head
    assert f"the tag v1.2.3 of me/toys was moved from commit {commit}" in caplog.text


def test_a_snapshot_that_is_typed_as_a_path(hub: LocalHub, commit: str, tmp_path: Path) -> None:
    folder = hubs.resolve("me/toys").folder
    hub.requests.clear()
    for written in (folder, str(folder)):
        place = hubs.resolve(written)
        assert place.revision == commit
        place.check(golden=True)
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert hubs.resolve(link).check().manifest.about.version == "1.2.3"
    moved = tmp_path / "elsewhere" / "hub"
    shutil.copytree(tmp_path / "home" / "hub", moved, symlinks=True)
    assert hubs.resolve(moved / folder.relative_to(tmp_path / "home" / "hub")).check()
    assert len(hub.requests) == 0
    blob(folder, NEEDED[3]).unlink()
    with pytest.raises(IntegrityError, match=f"lacks {NEEDED[3]}: `d3data pull me/toys@{commit}`"):
        d3data.load(folder)


@pytest.mark.parametrize("path", [NAME, NEEDED[2]])
def test_a_link_out_of_the_cache_is_refused(
    hub: LocalHub, commit: str, tmp_path: Path, path: str
) -> None:
    folder = hubs.resolve("me/toys").folder
    outside = tmp_path / "outside"
    shutil.copy(folder / path, outside)
    (folder / path).unlink()
    (folder / path).symlink_to(outside)
    for name in ("me/toys@1.2.3", folder):
        with pytest.raises(IntegrityError, match="outside of the cache"):
            hubs.resolve(name)


def test_a_link_to_the_store_that_repositories_share(
    hub: LocalHub, commit: str, tmp_path: Path
) -> None:
    folder = hubs.resolve("me/toys").folder
    file = blob(folder, NEEDED[2])
    store = tmp_path / "home" / "hub" / "blobs" / "ab"
    store.parent.mkdir()
    file.rename(store)
    file.symlink_to(store)
    place = hubs.resolve("me/toys@1.2.3")
    assert place.links[NEEDED[2]] == Path(os.path.realpath(store))
    place.check(golden=True)


def test_links_elsewhere_stay_forbidden(hub: LocalHub, commit: str, tmp_path: Path) -> None:
    folder = hubs.resolve("me/toys").folder
    for name in ("toys", f"a/datasets/{commit}"):
        copy = tmp_path / name
        shutil.copytree(folder, copy, symlinks=True)
        for link in copy.rglob("*"):
            if link.is_symlink():
                target = blob(folder, link.relative_to(copy).as_posix())
                link.unlink()
                link.symlink_to(target)
        with pytest.raises(IntegrityError, match="reached by a link"):
            d3data.load(copy)


def test_a_cache_without_links(hub: LocalHub, commit: str, monkeypatch: Patch) -> None:
    folder = hubs.resolve("me/toys").folder
    for path in NEEDED:
        real = blob(folder, path)
        (folder / path).unlink()
        real.rename(folder / path)
    hub.requests.clear()
    hubs.resolve("me/toys@1.2.3").check(golden=True)
    assert len(hub.requests) == 0


def test_another_cache_and_another_place_of_it(hub: LocalHub, commit: str, tmp_path: Path) -> None:
    place = hubs.resolve("me/toys", cache_dir=tmp_path / "other")
    assert place.folder.is_relative_to(tmp_path / "other")
    with pytest.raises(NotCachedError):
        hubs.resolve("me/toys", local_files_only=True)
    assert d3data.load("me/toys", cache_dir=str(tmp_path / "other"), local_files_only=True)
    elsewhere = hub.environment(tmp_path / "fresh") | {"HF_HUB_CACHE": str(tmp_path / "other")}
    hub.requests.clear()
    for more in ({}, {"HF_HUB_OFFLINE": "1"}):
        with client.using(elsewhere | more):
            assert hubs.resolve("me/toys@1.2.3").revision == commit
    assert len(hub.requests) == 0


def test_two_processes_that_pull_the_same_set(hub: LocalHub, commit: str, tmp_path: Path) -> None:
    environment = hub.environment(tmp_path / "shared")
    both = [
        hubs.Process(
            environment, tmp_path / f"log{n}", hubs.load, "me/toys", force_download=n == 1
        )
        for n in range(2)
    ]
    one, other = (process.end() for process in both)
    assert one == other
    assert one.value["images"] == hubs.images(d3data.load("me/toys"))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    for written in ("./toy", "../toy", str(tmp_path / "toy")):
        with pytest.raises(UnknownNameError, match=f"^{re.escape(written)} is not a folder: "):
            hubs.resolve(written)
    with pytest.raises(UnknownNameError, match="which has no revision"):
        d3data.load("./nowhere", revision="main")


def test_what_is_near_a_set_leads_to_it(toys: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    run = tmp_path / "run"
    shutil.copytree(toys, run / "artifact")
    monkeypatch.chdir(tmp_path)
    near = {
        "run/": "./run/artifact",
        "./run": "./run/artifact",
        str(run): str(run / "artifact"),
        "./run/artifact/d3data.json": "./run/artifact",
        "run/artifact/d3data.json": "./run/artifact",
    }
    for written, meant in near.items():
        with pytest.raises(UnknownNameError, match=f"{re.escape(meant)}$"):
            d3data.load(written)
        assert hubs.resolve(meant).read().manifest.about.name == "toys-ipc2"
    (run / NAME).write_bytes((run / "artifact" / NAME).read_bytes())  # it is a set itself
    assert hubs.resolve("run/").folder == Path("run")


def test_a_hub_that_names_no_commit(hub: LocalHub, commit: str, monkeypatch: Patch) -> None:
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(sha=None))
    with pytest.raises(HubError, match="the Hub names no commit") as failure:
        hubs.resolve("me/toys@main")
    assert "None" not in str(failure.value)


def test_a_set_of_a_newer_d3data_is_fetched_once(hub: LocalHub, toys: Path) -> None:
    page = json.loads((toys / NAME).read_bytes())
    page["content"]["format"] = 3
    newer = json.dumps(page, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    hub.create("me/newer", {**hubs.files_of(toys), NAME: newer}).tag("v1.2.3")
    with pytest.raises(NewerFormatError):
        hubs.resolve("me/newer")
    assert hub.requests.count("GET", f"*/{NAME}") == 1


def test_a_folder_that_is_written_as_a_repository_is_pointed_out(
    hub: LocalHub, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HubError) as failure:
        hubs.resolve("runs/x")
    assert "./runs/x" not in str(failure.value)
    (tmp_path / "runs" / "x").mkdir(parents=True)
    with pytest.raises(HubError, match=r"for the folder of that name write \./runs/x$"):
        hubs.resolve("runs/x")


def test_a_folder_that_cannot_be_looked_into_is_told(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(resolve.os, "access", lambda path, mode: False)  # root may do all
    with pytest.raises(IntegrityError, match="permission denied"):
        hubs.resolve(tmp_path)
