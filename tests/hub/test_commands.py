"""pull, verify, publish, list, info: results on stdout, exit codes, and no token anywhere."""

import contextlib
import io
import json
import logging
import os
import traceback
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import are_progress_bars_disabled
from typer.testing import CliRunner

import d3data
import hubs
from d3data.cli.commands import app
from d3data.errors import HubError
from d3data.hub import client, errors, index
from d3data.publishing import publish
from d3data.testing import Answer, LocalHub, User
from d3data.testing.client import using

Patch = pytest.MonkeyPatch
Log = pytest.LogCaptureFixture

pytestmark = pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)

TOKEN = "hf_0123456789abcdefghijklmnopqrstuvwx"


def call(*arguments: Any, code: int = 0) -> tuple[str, str]:
    """Run a command; its stdout and stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout, result.stderr


def document(*arguments: Any) -> Any:
    """The one JSON document that a command gives."""
    return json.loads(call(*arguments, "--json")[0])


def test_publish_then_pull_then_verify(hub: LocalHub, toys: Path) -> None:
    plan = document("publish", toys, "me/toys", "--dry-run")
    assert (plan["dry_run"], plan["created"], plan["commit"]) == (True, True, None)
    text, _ = call("publish", toys, "me/toys", "--dry-run")
    assert "me/toys@1.2.3 in a new repository: 10 files, tag v1.2.3" in text
    assert "add  parts/000.safetensors" in text
    out, told = call("publish", toys, "me/toys")
    assert out == "me/toys@1.2.3\n"
    assert [line.partition(":")[0] for line in told.splitlines()] == [
        f"{toys} verified",
        "committed 10 files",
        "tagged v1.2.3",
        "me/toys@1.2.3 was downloaded again and verified",
    ]
    text, _ = call("publish", toys, "me/toys", "--dry-run")
    assert text == "me/toys@1.2.3: nothing to do, all files are up to date\n"
    hub.repo("me/toys").delete_tag("v1.2.3")
    text, _ = call("publish", toys, "me/toys", "--dry-run")
    assert text == "me/toys@1.2.3: nothing to send but the tag v1.2.3, all files are up to date\n"
    hub.repo("me/toys").tag("v1.2.3")
    out, told = call("publish", toys, "me/toys")
    assert out == "me/toys@1.2.3\n"
    assert told.splitlines()[1:] == [
        "me/toys@1.2.3 is published already",
        "me/toys@1.2.3 was downloaded again and verified",
    ]
    done = document("publish", toys, "me/toys")
    commit = hub.repo("me/toys").head
    assert (done["commit"], done["changes"], done["pull_request"]) == (commit, [], None)
    out, told = call("pull", "me/toys")
    folder = Path(out.removesuffix("\n"))
    assert folder.name == commit
    assert told == ""
    of_commit = f"me/toys@{commit}"
    for name in ("me/toys", "me/toys@1.2.3", folder):
        out, told = call("verify", name, "--golden")
        assert out.startswith("toys-ipc2 1.2.3 verified, and its golden images are the same")
        assert told == (
            "not fetched: preview.png, preview/train-00000.parquet, recipe.toml; "
            f"`d3data pull --extras {name if name != folder else of_commit}` brings them\n"
        )
        assert document("verify", name)["revision"] == commit
    assert len(document("verify", "me/toys")["left_out"]) == 3
    assert not (folder / "preview.png").exists()
    call("pull", "--extras", "me/toys")
    assert (folder / "preview.png").exists()
    assert call("verify", "me/toys")[1] == ""
    assert document("verify", toys)["left_out"] == []
    assert f"commit      {commit}" in call("info", "me/toys")[0]
    assert document("info", "me/toys")["manifest"]["about"]["version"] == "1.2.3"


def test_a_broken_file_is_exit_3_until_it_is_fetched_again(hub: LocalHub, commit: str) -> None:
    folder = Path(call("pull", "me/toys")[0].strip())
    file = Path(os.path.realpath(folder / "parts" / "001.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    for command, name in (("verify", "me/toys"), ("verify", folder), ("pull", "me/toys@1.2.3")):
        out, told = call(command, name, code=3)
        assert out == ""
        assert "parts" in told or "sha256" in told
        assert "`d3data pull --force me/toys" in told
    call("pull", "--force", "me/toys")
    call("verify", folder)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("pull", "me/nothing"), 1, "no such data set"),
        (("pull", "imagenet-ipc99"), 1, "did you mean imagenet-ipc"),
        (("verify", "./nowhere"), 1, "is not a folder"),
        (("publish", "./nowhere", "me/toys"), 1, "is not a folder"),
        (("publish", "nowhere", "me/toys"), 1, "no data set is called 'nowhere'"),
        (("pull", "Bad Name"), 2, "not a valid data set name"),
        (("list", "digts*"), 1, "did you mean digits-ipc"),
        (("publish", ".", "toys"), 2, "not a valid repository name"),
        (("publish", ".", "me/toys"), 1, "is not a data set of d3data"),
        (("publish", ".", "me/toys", "--report", "nowhere.json"), 2, "is not a file"),
        (("pull", "https://huggingface.co/datasets/me/toys"), 2, "write me/toys"),
        (("pull",), 2, "Missing argument"),
    ],
)
def test_failures_are_one_line(
    hub: LocalHub, tmp_path: Path, monkeypatch: Patch, arguments: Any, code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    out, told = call(*arguments, code=code)
    assert out == ""
    assert said in told
    assert "Traceback" not in told


def test_the_list_says_what_is_published(monkeypatch: Patch, tmp_path: Path) -> None:
    out, _ = call("list", "digits*")
    first = [line.split()[0] for line in out.splitlines()]
    assert first == ["name", "digits-ipc10", "digits-ipc4"]
    place = tmp_path / "index.json"
    entry = {"about": "toys", "repository": "me/toys", "accuracy": 0.912}
    entry["budget"] = {"bytes": 12345}
    place.write_text(json.dumps({"format": 1, "sets": {"toys-ipc2": entry}}))
    monkeypatch.setenv(index.VARIABLE, str(place))
    (_, line) = call("list", "toys*")[0].splitlines()
    assert line.split() == ["toys-ipc2", "newest", "me/toys", "12,345", "bytes", "91.2", "toys"]
    assert document("list", "toys*")["toys-ipc2"]["accuracy"] == 0.912


def test_no_bars_where_there_is_no_terminal(
    hub: LocalHub, commit: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    variables = hub.environment(tmp_path / "other")
    del variables["HF_HUB_DISABLE_PROGRESS_BARS"]
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS")
    with using(variables):
        assert constants.HF_HUB_DISABLE_PROGRESS_BARS is None
        out, told = call("pull", "me/toys")
    assert len(out.splitlines()) == 1
    assert "%" not in told


def texts(folder: Path) -> list[Path]:
    """The files below a folder that hold the token."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if TOKEN.encode() in path.read_bytes()]


def test_no_token_is_told_or_kept(
    tmp_path: Path,
    toys: Path,
    caplog: Log,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
    told = []
    with LocalHub(users=(User("me", TOKEN),)) as hub, hub.using(tmp_path / "home"):
        with caplog.at_level(logging.DEBUG):
            publish(toys, "me/toys", progress=lambda at: told.append(at.message))
            publish(toys, "me/other", token=TOKEN, progress=lambda at: told.append(at.message))
            d3data.load("me/other", token=TOKEN)
            for fault, options in product((401, 503), ({}, {"token": TOKEN})):
                hub.faults.add(Answer(fault), times=None)
                for work in (
                    partial(publish, toys, "me/toys"),
                    partial(d3data.load, "me/toys", force_download=True),
                ):
                    with pytest.raises(HubError) as failure:
                        work(**options)
                    told.append("".join(traceback.format_exception(failure.value)))
                told += call("pull", "--force", "me/toys", code=1)
                hub.faults.clear()
            for token in (f"{TOKEN}\n", f"{TOKEN} x", f"{TOKEN}ü", ""):
                with pytest.raises(HubError, match="copy it again") as failure:
                    d3data.load("me/toys", token=token)
                told.append("".join(traceback.format_exception(failure.value)))
        stored = hub.repo("me/toys").files()
    told += [caplog.text, *capfd.readouterr()]
    assert not any(TOKEN in text for text in told)
    assert not any(TOKEN.encode() in content for content in stored.values())
    assert [p for p in texts(tmp_path) if "token" not in p.name] == []
    assert texts(toys) == []


SESAME = "sesame-0123"  # which no pattern of tokens knows


@pytest.mark.parametrize("place", ["variable", "file", "argument"])
def test_what_looks_like_no_token_is_told_nowhere_either(
    place: str, tmp_path: Path, toys: Path
) -> None:
    user = User("me", SESAME)
    with (
        LocalHub(users=(user,)) as hub,
        hub.using(tmp_path, user=user if place == "variable" else "nobody"),
    ):
        if place == "file":
            (tmp_path / "token").write_text(SESAME)  # where `hf auth login` keeps it
        given = {"token": SESAME} if place == "argument" else {}
        hubs.there(hub, toys)
        d3data.load("me/toys", **given)
        assert {request.user for request in hub.requests if request.where == "hub"} == {"me"}
        hub.faults.add(Answer(403, message=f"{SESAME} may not do this"), times=None)
        with pytest.raises(HubError, match=r"\*\*\* may not do this") as failure:
            d3data.load("me/toys", **given)
    assert SESAME not in "".join(traceback.format_exception(failure.value))


def test_a_password_in_the_address_of_the_hub_is_told_nowhere(tmp_path: Path, toys: Path) -> None:
    told: list[Any] = []
    with LocalHub(anonymous="write") as hub:
        hub.create("me/toys", {"x": b"x"})
        page = f"{hub.endpoint}/datasets/me/toys/discussions/1"
        hub._site.endpoint = hub.endpoint.replace("//", f"//me:{SESAME}@")
        with hub.using(tmp_path, user="nobody"):
            for _ in range(2):
                done = publish(
                    toys, "me/toys", create_pr=True, progress=lambda at: told.append(at.message)
                )
                assert done.pull_request == page
            hub.stop()
            with pytest.raises(HubError) as failure:
                d3data.load("me/toys")
    assert not any(SESAME in text for text in [*told, str(failure.value)])


@pytest.mark.parametrize(
    ("said", "cleaned"),
    [
        (f"Illegal header value b'Bearer {TOKEN}'", "Illegal header value b'***'"),
        ("token mine is wrong", "token *** is wrong"),
        ("Bearer eyJhbGciOi.x", "***"),
        ("two\nlines\x1b[31m", "two lines?[31m"),
        ("no way to https://me:a@b@hub.example/x, so", "no way to https://hub.example/x, so"),
        ("x" * 400, "x" * 297 + "..."),
    ],
)
def test_what_others_say_is_cleaned(said: str, cleaned: str) -> None:
    assert errors.clean(said, ["mine", ""]) == cleaned


def test_bars_are_drawn_again_after_a_failure(monkeypatch: Patch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", None)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with contextlib.suppress(ZeroDivisionError), client._bars_on_terminals():
        inside = are_progress_bars_disabled()
        raise ZeroDivisionError
    assert (inside, are_progress_bars_disabled()) == (True, False)


@pytest.mark.parametrize("path", ["*/commit/*", "/api/validate-yaml", "*/tag/*"])
def test_what_the_hub_will_not_take_is_told_with_its_reason(
    hub: LocalHub, toys: Path, path: str
) -> None:
    hub.faults.add(Answer(400, message="THE REASON"), path=path, times=None)
    with pytest.raises(HubError, match=r"rejected the request \(.*THE REASON.*\)") as failure:
        publish(toys, "me/toys")
    assert "retrying unchanged will fail again" in str(failure.value)


def test_the_card_of_a_name_of_the_hub_is_of_its_repository(
    hub: LocalHub, commit: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    place = tmp_path / "index.json"
    listed = {"toys-ipc2": {"about": "toys", "repository": "me/toys"}}
    place.write_text(json.dumps({"format": 1, "sets": listed}))
    monkeypatch.setenv(index.VARIABLE, str(place))
    for name in ("me/toys", "toys-ipc2"):
        assert 'd3data.load("me/toys@1.2.3")' in call("card", name)[0]
    assert 'd3data.load("me/mine@1.2.3")' in call("card", "me/toys", "--repo", "me/mine")[0]
