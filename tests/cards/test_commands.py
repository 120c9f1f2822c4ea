"""The commands preview and card."""

import json
import re

import pytest
from typer.testing import CliRunner

import hubs
import made
from d3data.cards import derived
from d3data.cli.commands import app
from d3data.publishing import publish
from d3data.testing import LocalHub
from d3data.utils.atomic import write_json
from showing import report


def call(*arguments, code=0):
    """Run a command; its stdout and stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path):
    return made.write(tmp_path / "toys").folder


def test_a_preview_is_a_picture_or_a_page(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("preview", folder)[0] == "preview.png\n"
    assert (tmp_path / "preview.png").read_bytes().startswith(b"\x89PNG")
    assert call("preview", folder, "--out", "b.png")[0] == "b.png\n"
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "preview.png").read_bytes()
    (tmp_path / "preview.png").unlink()
    printed = call("preview", folder, "--html", "x.html", "--json")[0]
    assert json.loads(printed) == {"page": "x.html"}
    assert not (tmp_path / "preview.png").exists()
    assert "Nobody has measured it yet" in (tmp_path / "x.html").read_text(encoding="utf-8")
    assert call("preview", folder, "--html", "y.html", "--out", "y.png")[0] == "y.png\ny.html\n"


def test_a_report_may_lie_anywhere(folder, tmp_path):
    write_json(tmp_path / "r.json", report(made.artifact.read(folder)).dump())
    call("preview", folder, "--html", tmp_path / "x.html", "--report", tmp_path / "r.json")
    assert "91.0 ± 1.4" in (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "91.0 ± 1.4" in call("card", folder, "--report", tmp_path / "r.json")[0]
    (tmp_path / "r.json").write_text("{}")
    assert "Field required" in call("card", folder, "--report", tmp_path / "r.json", code=3)[1]
    write_json(tmp_path / "r.json", report(made.artifact.read(folder), content_sha256=None).dump())
    assert "evaluate it again" in call("card", folder, "--report", tmp_path / "r.json", code=1)[1]


def test_a_card_goes_to_stdout_or_into_the_one_that_is_there(folder, tmp_path):
    text, said = call("card", folder)
    assert said == ""
    path = tmp_path / "README.md"
    assert call("card", folder, "--out", path)[0] == f"{path}\n"
    assert path.read_text(encoding="utf-8") == text
    path.write_text(f"{text}\nMine.\n".replace("toys, distilled", "old"), encoding="utf-8")
    call("card", folder, "--out", path)
    assert path.read_text(encoding="utf-8") == f"{text}\nMine.\n"


def test_a_card_is_checked(folder, tmp_path):
    path = tmp_path / "README.md"
    call("card", folder, "--repo", "me/toys", "--out", path)
    path.write_text(path.read_text(encoding="utf-8") + "\nMine.\n", encoding="utf-8")
    stdout, stderr = call("card", folder, "--repo", "me/toys", "--check", path)
    assert (stdout, stderr) == ("", f"{path} is up to date\n")
    before = path.read_text(encoding="utf-8").replace("license: cc0-1.0", "license: mit")
    path.write_text(before, encoding="utf-8")
    stdout, stderr = call("card", folder, "--repo", "me/toys", "--check", path, code=3)
    assert stdout == ""
    assert re.search(r"is not up to date: '-license: mit'; `--out .*` renews it", stderr)
    assert path.read_text(encoding="utf-8") == before
    path.write_text("---\na: [\n---\n")
    assert "YAML of the card is broken" in call("card", folder, "--check", path, code=3)[1]
    path.write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in call("card", folder, "--check", path, code=3)[1]


def test_the_card_that_was_published_is_up_to_date(folder, tmp_path):
    found, path = made.artifact.read(folder), tmp_path / "README.md"
    files = derived(found, report(found), repo="me/toys")
    path.write_bytes(files["README.md"])
    write_json(tmp_path / "r.json", report(found).dump())
    call("card", folder, "--check", path, "--report", tmp_path / "r.json")
    whole = made.artifact.extend(folder, files)
    call("card", whole.folder, "--check", path)
    told = call("card", whole.folder, "--check", path, "--repo", "you/toys", code=3)[1]
    assert "me/toys@1.2.3" in told


@pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
def test_the_card_of_the_hub_is_up_to_date(folder, tmp_path):
    with LocalHub() as hub, hub.using(tmp_path / "home"):
        publish(folder, "me/toys")
        (tmp_path / "README.md").write_bytes(hub.repo("me/toys").files()["README.md"])
        call("card", "me/toys", "--check", tmp_path / "README.md")
        call("card", folder, "--check", tmp_path / "README.md", "--croissant", tmp_path / "c.json")
        found = json.loads((tmp_path / "c.json").read_text())
        assert found["name"] == "toys-ipc2"
        assert found["url"] == f"{hub.endpoint}/datasets/me/toys"


@pytest.mark.parametrize(("option", "suffix"), [("--out", ".png"), ("--html", ".html")])
def test_a_preview_has_the_suffix_of_what_it_is(folder, tmp_path, option, suffix):
    for name in ("x.txt", "x", "page.htm"):
        said = call("preview", folder, option, tmp_path / name, code=2)[1]
        assert f"must end in {suffix}" in said
        assert not (tmp_path / name).exists()
    call("preview", folder, option, tmp_path / f"x{suffix.upper()}")


def test_a_page_of_somebody_else_is_not_written_over(folder, tmp_path):
    path = tmp_path / "index.html"
    path.write_text("<!doctype html>\n<title>Mine, of d3data</title>\n")
    said = call("preview", folder, "--html", path, "--out", tmp_path / "x.png", code=2)[1]
    assert "d3data did not make it" in said
    assert path.read_text().endswith("<title>Mine, of d3data</title>\n")
    assert not (tmp_path / "x.png").exists()
    path.unlink()
    call("preview", folder, "--html", path)
    first = path.read_bytes()
    call("preview", folder, "--html", path)
    assert path.read_bytes() == first


def test_wrong_use_is_told(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "give one of them" in call("card", folder, "--out", "x", "--check", "x", code=2)[1]
    assert "x is not a file" in call("card", folder, "--check", "x", code=2)[1]
    assert "x is not a file" in call("card", folder, "--report", "x", code=2)[1]
    assert "not a valid repository name" in call("card", folder, "--repo", "toys", code=2)[1]
    assert "no data set is called" in call("card", "nothing", code=1)[1]


def test_a_spoilt_part_stops_both_pictures(folder, tmp_path):
    part = folder / "parts" / "000.safetensors"
    part.write_bytes(part.read_bytes()[:-1] + b"\x00")
    _, said = call("preview", folder, "--html", tmp_path / "x.html", code=3)
    assert "000.safetensors" in said
    assert not (tmp_path / "x.html").exists()
