"""Publishing: one commit, one tag, verified; cut anywhere and done again; nothing half done."""

import contextlib
import hashlib
import itertools
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

import d3data
import hubs
import made
import tiny_runs
from d3data import artifact
from d3data.artifact import reference_draws
from d3data.artifact.manifest import NAME, Manifest, parse
from d3data.errors import (
    AccessError,
    ArtifactError,
    ConflictError,
    D3DataError,
    FormatError,
    HubError,
    IntegrityError,
    NotPublishedError,
    UnknownNameError,
    UnreachableError,
    VersionTakenError,
)
from d3data.hub import index, resolve
from d3data.hub.cache import ResolvedRevision
from d3data.hub.client import Client, HubOptions, NewCommit
from d3data.hub.names import Repository
from d3data.publishing import publish, steps
from d3data.testing import Answer, Drop, Flip, LocalHub, User
from d3data.testing.refusals import NoRepository
from d3data.utils.progress import Progress

hub, no_index, pixels, toys = hubs.hub, hubs.no_index, hubs.pixels, hubs.toys
drawn_once = hubs.drawn_once
pytestmark = pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)

Patch = pytest.MonkeyPatch
ROOT = Path(__file__).parent.parent.parent
MADE = {"README.md", "croissant.json", "preview.png", "preview/train-00000.parquet"}
WRITING = ("POST", "PUT", "DELETE")


def version(number: str) -> object:
    return made.ABOUT.model_copy(update={"version": number})


def edit(hub: LocalHub, path: str, content: bytes | None, name: str = "me/toys") -> str:
    """What somebody else does on the branch main."""
    return hub.commit(name, {path: content}, title=f"somebody touched {path}")


@pytest.fixture
def wheel_s_zoo(tmp_path: Path, monkeypatch: Patch) -> Path:
    """The folder of the sets that come with d3data, as it is in the wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]
    left_out = [path for pattern in patterns for path in ROOT.glob(pattern.lstrip("/"))]
    assert {path.name for path in left_out} == {"preview", "preview.png"}
    zoo = tmp_path / "zoo"
    shutil.copytree(index.ZOO, zoo, ignore=lambda at, names: {p.name for p in left_out} & {*names})
    monkeypatch.setattr(index, "ZOO", zoo)
    monkeypatch.setattr("d3data.artifact.artifact.ZOO", zoo)
    return zoo


def test_sets_of_the_wheel_are_checked_shown_and_published(hub: LocalHub, wheel_s_zoo: Path):
    whole = (wheel_s_zoo / "digits-ipc4" / "README.md").read_text(encoding="utf-8")
    assert d3data.cards.card("digits-ipc4") == whole
    data = d3data.load("digits-ipc4")
    assert data.artifact.folder.parent == wheel_s_zoo
    artifact.read(d3data.pull("digits-ipc4")).check()
    publish(data, "me/digits")
    assert set(hub.repo("me/digits").files()) >= MADE
    assert hubs.unsound(hub, "me/digits") == []
    (wheel_s_zoo / "digits-ipc4" / "parts" / "000.safetensors").unlink()
    with pytest.raises(IntegrityError):
        resolve.resolve("digits-ipc4").check()


def test_one_commit_one_tag_and_again_nothing_changes(hub: LocalHub, toys: Path) -> None:
    before = hubs.files_of(toys)
    done = publish(toys, "me/toys")
    repository = hub.repo("me/toys")
    titles = [commit.title for commit in repository.history()]
    assert titles == ["toys-ipc2 1.2.3", "initial commit"]
    assert repository.tags == {"v1.2.3": repository.head}
    assert (done.commit, done.created, done.dry_run) == (repository.head, True, False)
    assert not repository.private
    files = repository.files()
    assert set(files) - {".gitattributes"} == set(before) | MADE
    assert hubs.unsound(hub, "me/toys") == []
    assert {c.path for c in done.changes} == set(before) | MADE
    assert hubs.files_of(toys) == before
    data = d3data.load("me/toys")
    assert data.revision == done.commit
    assert hubs.images(data) == hubs.images(d3data.load(toys))
    assert data.artifact.manifest.content == artifact.read(toys).manifest.content
    hub.requests.clear()
    again = publish(toys, "me/toys")
    assert (again.commit, again.changes, again.created) == (done.commit, (), False)
    assert [r for r in hub.requests if r.method in WRITING] == []
    assert hub.requests.count("GET", f"*/resolve/*/{NAME}") == 2  # looked at, and verified anew
    assert repository.tags == {"v1.2.3": done.commit}
    assert b'd3data.load("me/toys@1.2.3")' in files["README.md"]
    assert f"{hub.endpoint}/datasets/me/toys".encode() in files["croissant.json"]
    listed = {
        entry["contentUrl"].rpartition("/v1.2.3/")[2]: entry["sha256"]
        for entry in json.loads(files["croissant.json"])["distribution"]
    }
    assert listed == {
        path: hashlib.sha256(content).hexdigest()
        for path, content in files.items()
        if path not in (".gitattributes", "README.md", "croissant.json")
    }


def test_a_new_version_replaces_and_deletes_files(
    hub: LocalHub, toys: Path, tmp_path: Path
) -> None:
    publish(toys, "me/toys")
    edit(hub, "notes/ours.txt", b"of somebody")
    joined = made.part(made.SPECS["pixels"], (0, 1, 2, 3, 4), (1, 1, 1, 1, 1))
    about = version("1.3.0")
    newer = made.write(tmp_path / "newer", "pixels", parts=[joined], about=about, extras={})
    done = publish(newer.folder, "me/toys")
    repository = hub.repo("me/toys")
    gone = {change.path for change in done.changes if change.what == "delete"}
    assert gone == {"parts/001.safetensors", "parts/002.safetensors", "recipe.toml"}
    assert repository.files()["notes/ours.txt"] == b"of somebody"
    assert not gone & set(repository.files())
    assert len(list(repository.history())) == 4
    assert hubs.unsound(hub, "me/toys") == []
    assert d3data.load("me/toys").version == "1.3.0"
    assert hubs.images(d3data.load("me/toys@1.2.3")) == hubs.images(d3data.load(toys))


def test_a_dry_run_needs_no_hub(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refs(*_: Any) -> None:
        raise UnreachableError("nobody answers")

    monkeypatch.setattr(Client, "refs", refs)
    said: list[str] = []
    plan = publish(toys, "me/toys", dry_run=True, progress=lambda at: said.append(at.message))
    assert {change.path for change in plan.changes} >= {"README.md", "d3data.json"}
    assert (plan.created, plan.commit) == (False, None)
    assert "not compared with what is published: nobody answers" in said
    with pytest.raises(UnreachableError):
        publish(toys, "me/toys")


def test_a_version_never_changes(hub: LocalHub, toys: Path, pixels: Path) -> None:
    first = publish(toys, "me/toys")
    digests = [artifact.read(folder).manifest.content_sha256 for folder in (toys, pixels)]
    for dry_run in (True, False):
        hub.requests.clear()
        with pytest.raises(VersionTakenError, match=r"never change.*--version") as failure:
            publish(pixels, "me/toys", dry_run=dry_run)
        assert all(digest in str(failure.value) for digest in digests)
        assert [r for r in hub.requests if r.method in WRITING] == []
    assert hub.repo("me/toys").tags == {"v1.2.3": first.commit}
    other = publish(pixels, "me/toys", version="1.3.0")
    assert hub.repo("me/toys").tags == {"v1.2.3": first.commit, "v1.3.0": other.commit}
    assert d3data.load("me/toys").version == "1.3.0"
    with pytest.raises(UnknownNameError, match="three numbers"):
        publish(pixels, "me/toys", version="v2")


def test_a_new_report_goes_to_the_branch_and_the_tag_stays(hub: LocalHub, toys: Path) -> None:
    report = hubs.report(toys)
    first = publish(toys, "me/toys")
    again = publish(toys, "me/toys", report=report)
    repository = hub.repo("me/toys")
    assert again.commit == first.commit == repository.tags["v1.2.3"]
    changed = {change.path for change in again.changes}
    assert changed == {NAME, "README.md", "croissant.json", "report.json"}
    assert repository.head != first.commit
    assert "report.json" not in repository.files("v1.2.3")
    pages = [parse(repository.files(at)[NAME], where=at) for at in ("v1.2.3", "main")]
    assert pages[0].content_sha256 == pages[1].content_sha256
    assert publish(toys, "me/toys", report=report).changes == ()
    for at in ("v1.2.3", "main"):
        page = json.loads(repository.files(at)["croissant.json"])
        for entry in page["distribution"]:
            revision, _, path = entry["contentUrl"].rpartition("/resolve/")[2].partition("/")
            content = repository.files(revision)[path]
            assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["contentUrl"]


def test_a_report_stays_with_its_content(hub: LocalHub, toys: Path, pixels: Path) -> None:
    publish(toys, "me/toys", report=hubs.report(toys))
    repository = hub.repo("me/toys")
    stored = repository.files()["report.json"]
    assert publish(toys, "me/toys", dry_run=True).changes == ()
    publish(toys, "me/toys", version="1.3.0")
    files = repository.files("v1.3.0")
    assert files["report.json"] == stored
    assert b"50.0" in files["README.md"]  # what it reaches
    publish(pixels, "me/toys", version="2.0.0")
    assert "report.json" not in repository.files()
    for content in (b"{}", b"no report"):  # somebody's own files are no hindrance
        edit(hub, "report.json", content)
        assert publish(pixels, "me/toys", version="2.0.0").changes == ()
        assert repository.files()["report.json"] == content


def test_a_branch_that_is_ahead_stays(hub: LocalHub, toys: Path, pixels: Path) -> None:
    publish(toys, "me/toys")
    publish(pixels, "me/toys", version="2.0.0")
    head, told, report = hub.repo("me/toys").head, [], hubs.report(toys)
    for dry_run in (True, False):
        told.clear()
        publish(
            toys,
            "me/toys",
            report=report,
            dry_run=dry_run,
            progress=lambda at: told.append(at.message),
        )
        assert told[1] == (
            "me/toys@1.2.3 is published already; main has 2.0.0, which is newer and stays: no "
            "other card or report of the older version is sent"
        )
    assert hub.repo("me/toys").head == head
    fixed = publish(toys, "me/toys", version="1.2.4")
    assert hub.repo("me/toys").tags["v1.2.4"] == fixed.commit
    assert d3data.load("me/toys").version == "2.0.0"


def test_what_people_write_stays(hub: LocalHub, toys: Path) -> None:
    publish(toys, "me/toys")
    text = hub.repo("me/toys").files()["README.md"].decode()
    assert "\n# toys\n" in text  # words of the folder's own card
    text = text.replace("---\n", "---\nlanguage: en # ours\n", 1)
    edit(hub, "README.md", f"{text}\n## Thanks\n\nTo the ants.\n".encode())
    edit(hub, "LICENSE", b"free")
    publish(toys, "me/toys", version="1.3.0")
    files = hub.repo("me/toys").files("v1.3.0")
    card = files["README.md"].decode()
    assert "language: en # ours\n" in card
    assert card.rstrip().endswith("To the ants.")
    assert card.startswith("---")
    assert "me/toys@1.3.0" in card
    assert "me/toys@1.2.3" not in card
    assert files["LICENSE"] == b"free"


def test_a_broken_card_stops_before_sending(hub: LocalHub, toys: Path) -> None:
    hub.create("me/toys")
    for card, fault in ((b"---\na: [\n---\n", "YAML"), (b"\xff\xfe", "not UTF-8")):
        head = edit(hub, "README.md", card)
        with pytest.raises(FormatError, match=fault):
            publish(toys, "me/toys")
        assert hub.repo("me/toys").head == head
    assert [r for r in hub.requests if r.method in WRITING] == []


def test_a_dry_run_sends_nothing_that_writes(hub: LocalHub, toys: Path) -> None:
    plan = publish(toys, "me/toys", dry_run=True)
    assert (plan.created, plan.commit, plan.dry_run) == (True, None, True)
    assert all(change.what == "add" for change in plan.changes)
    assert {r.method for r in hub.requests} <= {"GET", "HEAD"}
    with pytest.raises(Exception, match="not found"):
        hub.repo("me/toys")
    done = publish(toys, "me/toys")
    assert done.changes == plan.changes
    sizes = {path: len(content) for path, content in hub.repo("me/toys").files().items()}
    assert all(sizes[change.path] == change.size for change in done.changes)
    hub.requests.clear()
    again = publish(toys, "me/toys", version="2.0.0", dry_run=True)
    assert (again.created, again.commit) == (False, None)
    assert {change.path for change in again.changes} == {NAME, "README.md", "croissant.json"}
    assert {r.method for r in hub.requests} <= {"GET", "HEAD"}


def test_private_is_private_or_nothing_is_sent(hub: LocalHub, toys: Path) -> None:
    publish(toys, "me/secret", private=True)
    assert hub.repo("me/secret").private
    publish(toys, "me/secret", private=True, version="2.0.0")
    hub.create("me/open", {"x": b"x"})
    hub.requests.clear()
    with pytest.raises(AccessError, match=r"is public.*nothing was sent"):
        publish(toys, "me/open", private=True)
    assert [r for r in hub.requests if r.method in WRITING] == []
    hub.faults.add(Answer(404, code="RepoNotFound"), path="*/refs")  # somebody makes it just now
    with pytest.raises(AccessError, match=r"is public.*nothing was sent"):
        publish(toys, "me/open", private=True)
    assert set(hub.repo("me/open").files()) == {".gitattributes", "x"}


def test_one_pull_request_and_a_tag_after_the_merge(hub: LocalHub, toys: Path) -> None:
    repository = hub.create("me/toys", {"x": b"x"})
    head = repository.head
    done = publish(toys, "me/toys", create_pr=True)
    assert (done.commit, repository.head, repository.tags) == (None, head, {})
    assert done.pull_request == f"{hub.endpoint}/datasets/me/toys/discussions/1"
    again = publish(toys, "me/toys", create_pr=True)
    assert (again.pull_request, len(repository.pulls)) == (done.pull_request, 1)
    other = publish(toys, "me/toys", create_pr=True, version="1.3.0")
    assert other.pull_request == f"{hub.endpoint}/datasets/me/toys/discussions/2"
    again = publish(toys, "me/toys", create_pr=True)  # which is not the newest of them
    assert (again.pull_request, len(repository.pulls)) == (done.pull_request, 2)
    repository.close("refs/pr/1")  # which is no hindrance
    third = publish(toys, "me/toys", create_pr=True)
    assert third.pull_request == publish(toys, "me/toys", create_pr=True).pull_request
    assert third.pull_request == f"{hub.endpoint}/datasets/me/toys/discussions/3"
    repository.merge("refs/pr/3")
    merged = publish(toys, "me/toys", create_pr=True)
    assert (merged.pull_request, merged.changes) == (None, ())
    assert repository.tags == {"v1.2.3": repository.head} == {"v1.2.3": merged.commit}
    reason = r"no such data set.*a pull request needs.*without --create-pr"
    for dry_run in (True, False):
        with pytest.raises(NotPublishedError, match=reason):
            publish(toys, "me/nothing", create_pr=True, dry_run=dry_run)


def test_a_stranger_may_only_propose(tmp_path: Path, toys: Path) -> None:
    users = (User("me", "hf_test"), User("you", "hf_other"), User("guest", "hf_guest", "read"))
    with LocalHub(users=users) as hub:
        repository = hub.create("me/toys", {"x": b"x"})
        with hub.using(tmp_path / "home", user=users[1]):
            with pytest.raises(AccessError, match="does not have permission"):
                publish(toys, "me/toys")
            assert publish(toys, "me/toys", create_pr=True).pull_request
            assert publish(toys, "me/toys", token="hf_test").commit == repository.head
        for user, text in (("nobody", "hf auth login"), (users[2], "does not have permission")):
            with hub.using(tmp_path, user=user), pytest.raises(AccessError, match=text):
                publish(toys, "guest/toys")
        assert repository.tags == {"v1.2.3": repository.head}


def test_nothing_is_sent_offline(hub: LocalHub, toys: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE=1"):
        publish(toys, "me/toys")
    assert len(hub.requests) == 0


def test_a_broken_artifact_is_not_published(hub: LocalHub, pixels: Path, tmp_path: Path) -> None:
    other = made.write(tmp_path / "other").folder
    artifact.extend(other, {reference_draws.PATH: (pixels / reference_draws.PATH).read_bytes()})
    with pytest.raises(ArtifactError, match="golden"):
        publish(other, "me/toys")
    made.write(tmp_path / "toys")
    file = tmp_path / "toys" / "recipe.toml"
    file.write_bytes(file.read_bytes().replace(b"toys", b"tows"))
    with pytest.raises(IntegrityError, match=r"recipe\.toml has sha256"):
        publish(tmp_path / "toys", "me/toys")
    with pytest.raises(UnknownNameError, match="is not a folder"):
        publish(tmp_path / "nothing", "me/toys")
    with pytest.raises(UnknownNameError, match="not a valid repository name"):
        publish(tmp_path / "toys", "toys")
    assert len(hub.requests) == 0


def test_a_set_without_golden_draws_is_published_as_it_is(hub: LocalHub, tmp_path: Path) -> None:
    page = made.write(tmp_path / "toys").manifest
    (tmp_path / "toys" / reference_draws.PATH).unlink()
    others = [entry for entry in page.files if entry.path != reference_draws.PATH]
    bare = Manifest.seal(page.content, about=page.about, files=others)
    (tmp_path / "toys" / NAME).write_bytes(bare.encode())
    assert publish(tmp_path / "toys", "me/toys").commit == hub.repo("me/toys").head
    assert reference_draws.PATH not in hub.repo("me/toys").files()


def test_an_endpoint_without_xet(hub: LocalHub, toys: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    with pytest.raises(HubError, match="HF_HUB_DISABLE_XET=1"):
        publish(toys, "me/toys")
    assert hub.repo("me/toys").tags == {}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    assert publish(toys, "me/toys").commit == hub.repo("me/toys").head


def test_somebody_else_s_edit_in_between_is_kept(hub: LocalHub, toys: Path) -> None:
    hub.create("me/toys", {"x": b"x"})

    def meddle(at: Progress) -> None:
        if " verified: " in at.message:
            hub.faults.add(Answer(412), path="*/commit/*", times=2)

    done = publish(toys, "me/toys", progress=meddle)
    repository = hub.repo("me/toys")
    assert hub.requests.count("POST", "*/commit/main") == 3
    assert len(list(repository.history())) == 3
    assert repository.tags == {"v1.2.3": done.commit}


@pytest.mark.parametrize("times", [4, 5])
def test_a_branch_that_moves(hub: LocalHub, toys: Path, times: int, monkeypatch: Patch) -> None:
    hub.create("me/toys", {"x": b"x"})
    fetch, moved = steps.fetch_state, []

    def fetch_and_edit(*arguments: object) -> object:
        state = fetch(*arguments)
        if len(moved) < times:
            moved.append(edit(hub, f"theirs/{len(moved)}", b"y"))
        return state

    monkeypatch.setattr(steps, "fetch_state", fetch_and_edit)
    if times >= 5:
        with pytest.raises(ConflictError, match="publish it again once nobody"):
            publish(toys, "me/toys")
        assert hub.repo("me/toys").tags == {}
        monkeypatch.undo()
    publish(toys, "me/toys")
    repository = hub.repo("me/toys")
    assert len([path for path in repository.files() if path.startswith("theirs/")]) == len(moved)
    assert repository.tags == {"v1.2.3": repository.head}
    assert hubs.unsound(hub, "me/toys") == []


def test_an_incomplete_commit_is_not_tagged(hub: LocalHub, toys: Path, monkeypatch: Patch) -> None:
    head = hub.create("me/toys", {"x": b"x"}).head
    monkeypatch.setattr(Client, "create_commit", lambda *arguments, **more: NewCommit(head, None))
    with pytest.raises(HubError, match=f"commit {head} was accepted without .*parts/000"):
        publish(toys, "me/toys")
    with pytest.raises(HubError, match=f"see {hub.endpoint}/datasets/me/toys/discussions$"):
        publish(toys, "me/toys", create_pr=True)
    old = hub.repo("me/toys").resolve("main").parents[0]
    monkeypatch.setattr(Client, "create_commit", lambda *arguments, **more: NewCommit(old, None))
    with pytest.raises(ConflictError, match="publish it again once nobody"):
        publish(toys, "me/toys")
    assert hub.repo("me/toys").tags == {}


@pytest.mark.parametrize("create_pr", [False, True])
def test_what_a_gitignore_leaves_out_is_said(hub: LocalHub, toys: Path, create_pr: bool) -> None:
    hub.create("me/toys", {".gitignore": b"*.parquet\n"})
    with pytest.raises(HubError, match=r"without preview/train-00000\.parquet: a \.gitignore"):
        publish(toys, "me/toys", create_pr=create_pr)
    assert hub.requests.count("POST", "*/commit/*") == 1
    assert hub.repo("me/toys").tags == {}
    edit(hub, ".gitignore", None)
    assert publish(toys, "me/toys").commit == hub.repo("me/toys").head


@pytest.mark.parametrize("path", ["README.md", NAME])
def test_a_broken_download_is_not_merged(hub: LocalHub, toys: Path, path: str) -> None:
    publish(toys, "me/toys")
    words = hub.repo("me/toys").files()["README.md"] + b"\nThanks to the ants.\n"
    edit(hub, "README.md", words)
    rule = hub.faults.add(Flip(len(words) - 3 if path == "README.md" else 99), path=f"*/{path}")
    assert publish(toys, "me/toys").changes == ()
    assert rule.hits == 1
    hub.faults.add(Flip(9), path=f"*/{path}", times=None)
    with pytest.raises(IntegrityError, match="two downloads differ"):
        publish(toys, "me/toys", version="2.0.0")


def test_the_tagged_commit_holds_the_set(hub: LocalHub, toys: Path) -> None:
    hub.faults.add(Drop(), path="*/tag/*")
    with pytest.raises(UnreachableError):
        publish(toys, "me/toys")
    repository = hub.repo("me/toys")
    assert repository.tags == {}
    edit(hub, "notes.txt", b"mine")
    broken = edit(hub, "parts/001.safetensors", None)
    done = publish(toys, "me/toys")
    assert done.commit == repository.head != broken
    assert {change.path for change in done.changes} == {"parts/001.safetensors"}
    assert hubs.unsound(hub, "me/toys") == []


def test_a_foreign_file_of_our_name_does_not_hinder(hub: LocalHub, toys: Path) -> None:
    hub.create("me/toys", {NAME: b"{}", "parts/009.safetensors": b"theirs"})
    publish(toys, "me/toys")
    assert hubs.unsound(hub, "me/toys") == []
    assert hub.repo("me/toys").files()["parts/009.safetensors"] == b"theirs"


@pytest.mark.parametrize(
    ("path", "spoil", "fault"),
    [
        (NAME, lambda content: None, "nothing that d3data reads"),
        (NAME, lambda content: b"{}", "nothing that d3data reads"),
        ("parts/001.safetensors", lambda content: None, "an incomplete set, without parts/001"),
        ("recipe.toml", lambda content: content[1:], r"an incomplete set, without recipe\.toml"),
        (
            reference_draws.PATH,
            lambda content: content[::-1],
            "an incomplete set, without golden",
        ),
    ],
)
def test_a_foreign_tag_is_checked_before_sending(
    hub: LocalHub, toys: Path, path: str, spoil: Any, fault: str
) -> None:
    files = hubs.files_of(toys)
    hub.create("me/toys", files)
    hub.commit("me/toys", {path: spoil(files[path])})
    hub.repo("me/toys").tag("v1.2.3")
    for dry_run in (True, False):
        with pytest.raises(VersionTakenError, match=f"is published with {fault}.*--version"):
            publish(toys, "me/toys", dry_run=dry_run)
    assert [r for r in hub.requests if r.method in WRITING] == []


def test_a_foreign_tag_is_published_if_it_has_that_version(hub: LocalHub, toys: Path) -> None:
    commit = hubs.there(hub, toys)
    hub.repo("me/toys").tag("v1.3.0")
    with pytest.raises(VersionTakenError, match=r"version 1\.2\.3 in its d3data\.json"):
        publish(toys, "me/toys", version="1.3.0")
    assert [r for r in hub.requests if r.method in WRITING] == []
    hub.repo("me/toys").delete_tag("v1.3.0")
    done = publish(toys, "me/toys", report=hubs.report(toys))
    assert done.commit == hub.repo("me/toys").tags["v1.2.3"] == commit
    assert {"README.md", "report.json"} < {change.path for change in done.changes}


def test_a_large_file_of_equal_size_is_another(hub: LocalHub, toys: Path) -> None:
    path = "parts/001.safetensors"
    files = hubs.files_of(toys)
    hub.create("me/toys", {**files, path: bytes(len(files[path]))})
    done = publish(toys, "me/toys")
    assert [change.what for change in done.changes if change.path == path] == ["replace"]
    assert hubs.unsound(hub, "me/toys") == []


def published_at_once(hub: LocalHub, home: Path, *places: Path) -> list[hubs.Outcome]:
    """What came of processes that publish at the same time under the same name."""
    environment = hub.environment(home)
    processes = [
        hubs.Process(environment, home / f"log{n}", hubs.send, place, "me/toys")
        for n, place in enumerate(places)
    ]
    return [process.end() for process in processes]


def test_two_at_once_have_one_result(hub: LocalHub, toys: Path, tmp_path: Path) -> None:
    one, other = published_at_once(hub, tmp_path, toys, toys)
    repository = hub.repo("me/toys")
    assert one == other, (one, other)
    assert one.value == {"commit": repository.head}
    assert len(list(repository.history())) == 2
    assert repository.tags == {"v1.2.3": repository.head}


def test_two_other_contents_have_one_winner(
    hub: LocalHub, toys: Path, pixels: Path, tmp_path: Path
) -> None:
    ends = published_at_once(hub, tmp_path, toys, pixels)
    assert sorted(end.error or "" for end in ends) in (["", "VersionTakenError"],), ends
    assert hubs.unsound(hub, "me/toys") == []
    (winner,) = [place for place, end in zip((toys, pixels), ends, strict=True) if not end.error]
    assert hubs.images(d3data.load("me/toys")) == hubs.images(d3data.load(winner))


WRITES = re.compile(r"POST .*(/repos/create$|/commit/|/tag/)")


def test_interrupted_anywhere_it_can_be_repeated(
    hub: LocalHub, toys: Path, tmp_path: Path
) -> None:
    publish(toys, "me/counted")
    kinds = (Drop(), Drop(acted=True), Answer(500, acted=True), Answer(403))
    *requests, _ = hub.requests  # the last one notes the tag in a cache
    writes = [n for n, one in enumerate(requests) if WRITES.search(f"{one.method} {one.path}")]
    assert len(writes) == 3
    everywhere = itertools.product(range(len(requests)), kinds)
    cuts = list(everywhere if tiny_runs.soaking() else itertools.product(writes, kinds[1:]))
    truth = hubs.images(d3data.load(toys))
    for number, (place, fault) in enumerate(cuts):
        name = f"me/cut-{number}"
        hub.faults.add(fault, skip=place, times=None)
        with pytest.raises(D3DataError):
            publish(toys, name)
        hub.faults.clear()
        with contextlib.suppress(NoRepository):
            assert hubs.unsound(hub, name) == [], f"half published: {fault} at request {place}"
        done = publish(toys, name)
        repository = hub.repo(name)
        assert repository.tags == {"v1.2.3": done.commit}, (place, fault)
        assert len(list(repository.history())) == 2, (place, fault)
        place_ = resolve.resolve(name, HubOptions(cache_dir=tmp_path / name))
        assert hubs.images(d3data.load(place_.folder)) == truth


@pytest.mark.parametrize("path", ["parts/002.safetensors", "preview.png"])
def test_the_verification_looks_at_what_comes_back(hub: LocalHub, toys: Path, path: str) -> None:
    rule = hub.faults.add(Flip(10, bits=1), method="GET", path=f"*/{Path(path).name}", times=None)
    with pytest.raises(IntegrityError, match=f"two downloads of {path} of commit"):
        publish(toys, "me/toys")
    assert rule.hits == 2
    hub.faults.clear()
    assert publish(toys, "me/toys").commit == hub.repo("me/toys").tags["v1.2.3"]


def test_the_verification_reads_files(hub: LocalHub, toys: Path, monkeypatch: Patch) -> None:
    def spoil(found: ResolvedRevision, wanted: Repository, client: Client) -> None:
        (file,) = client.root.rglob("002.safetensors")
        file.resolve().write_bytes(bytes(file.stat().st_size))

    monkeypatch.setattr(resolve, "remember", spoil)
    with pytest.raises(IntegrityError, match="has sha256"):
        publish(toys, "me/toys")


def test_the_verification_finds_a_moved_tag(hub: LocalHub, toys: Path, pixels: Path) -> None:
    def move(at: Progress) -> None:
        if at.message == "tagged v1.2.3":
            hub.commit("me/toys", hubs.files_of(pixels))
            hub.repo("me/toys").delete_tag("v1.2.3")
            hub.repo("me/toys").tag("v1.2.3")

    with pytest.raises(IntegrityError, match=r"came back with content .*moved by somebody"):
        publish(toys, "me/toys", progress=move)
