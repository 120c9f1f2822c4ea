"""Every snippet of the documents runs, and every command is one that the command line takes."""

import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from typer.main import get_command
from typer.testing import CliRunner

import d3data
import hubs
import tiny_runs
from d3data.cli.commands import app
from d3data.distill import Recipe, get_recipe
from d3data.evaluation.protocols import Protocol
from d3data.hub.index import FILE, ZOO, Index

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WHOLE = [DOCS / "index.md", *sorted((DOCS / "tutorials").glob("*.md"))]
# of guides, what takes long or a GPU is cut short; ci.md and testing.md have tests of their own
GUIDES = [ROOT / "README.md", *(DOCS / f"{name}.md" for name in
          ("api", "converting", "evaluation", "hub", "loading"))]  # fmt: skip
ELSEWHERE = {DOCS / "ci.md", DOCS / "testing.md", *WHOLE}
SHORT = {
    "range(50)": "range(2)",
    "range(600)": "range(2)",
    '"steps": 1200': '"steps": 2',
    "draws_per_class=1000": "draws_per_class=10",
    "num_workers=2": "num_workers=0",
    "num_workers=4": "num_workers=0",
    "epochs=50": "epochs=1",
    '"cuda"': '"cpu"',
}
UNFINISHED = {"MissingParameter", "NoArgsIsHelpError"}
OTHERS = {"pip", "make", "export", "python", "ray"}
hub = hubs.hub


def blocks(page):
    """The language and text of the blocks of a page."""
    return re.findall(r"```(\w*)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def commands(page):
    """The lines of the blocks of a page that a shell would get."""
    for language, block in blocks(page):
        if language in ("sh", "bash", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line.removeprefix("$ "), comments=True):
                    yield words


def perform(page, folder):
    """Run the blocks of a page in a folder, as a reader would; return the names they left."""
    names: dict = {}
    for language, block in blocks(page):
        named = re.match(r"# ([\w-]+\.(?:py|toml))\n", block)
        if named:
            (folder / named[1]).write_text(block, encoding="utf-8")
        elif language == "python":
            exec(compile(block, str(page), "exec"), names)
        elif language == "sh":
            for line in (line for line in block.splitlines() if line != "pip install d3data"):
                ended = CliRunner().invoke(app, shlex.split(line)[1:])
                assert ended.exit_code == 0, (line, ended.output)
    return names


@pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
@pytest.mark.parametrize("page", WHOLE, ids=lambda page: page.stem)
def test_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    if not tiny_runs.soaking():
        monkeypatch.setattr(Protocol, "length", lambda protocol, draws: 20)
    names = perform(page, tmp_path)
    told = capsys.readouterr().out
    for shown in re.findall(r"```text\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        assert shown in told
    if page.stem == "train":
        assert names["accuracy"] > 0.8  # chance is 0.1


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_snippets_of_a_guide_run(page, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hubs.there(hub, ZOO / "digits-ipc4", "me/flowers-ipc2")
    for place in ("runs/digits-ipc4/artifact", "imagenet-ipc2"):
        shutil.copytree(ZOO / "digits-ipc4", tmp_path / place)
    names = {"d3data": d3data, "torch": torch, "F": F, "DataLoader": DataLoader}
    for language, block in blocks(page):
        if language == "python":
            for long, short in SHORT.items():
                block = block.replace(long, short)
            exec(compile(block, str(page), "exec"), names)
    if "loop" in names:
        data = d3data.load("digits-ipc4", output="normalized")
        network = d3data.nets.build(channels=1, size=8, classes=10)
        names["loop"](network, data, seed=0, device="cpu")


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def test_no_page_has_snippets_that_are_not_run():
    with_snippets = {page for page in PAGES if "python" in dict(blocks(page))}
    assert with_snippets == {*GUIDES} | {page for page in ELSEWHERE if page in with_snippets}


@pytest.fixture(scope="module")
def parser():
    """The command line, whose commands do nothing."""

    def silence(command):
        command.callback = lambda **_: None
        for inner in getattr(command, "commands", {}).values():
            silence(inner)

    line = get_command(app)
    silence(line)
    return line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_as_the_command_line_takes_them(page, parser):
    for program, *words in commands(page):
        assert program in {"d3data"} | OTHERS
        if program == "d3data":
            words = ["digits-ipc4" if word == "NAME" else word for word in words]
            assert not parser.main(words, "d3data", standalone_mode=False), words
    told = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for mention in re.findall(r"`d3data ([^`]*)`", told):
        words = shlex.split(re.sub(r"\[|\]", "", mention).replace("NAME", "digits-ipc4"))
        try:
            assert not parser.main(words, "d3data", standalone_mode=False), mention
        except Exception as failure:  # a mention may leave out what a command needs
            unfinished = type(failure).__name__ in UNFINISHED
            if not unfinished and "requires an argument" not in str(failure):
                raise AssertionError(mention) from failure


@pytest.mark.parametrize("snippet", [b for _, b in blocks(DOCS / "recipes.md") if b[0] == "["])
def test_a_piece_of_a_recipe_is_one(snippet):
    recipe = get_recipe("cifar10-u8ipc1").dump()
    changed = {key: recipe.get(key, {}) | values for key, values in tomllib.loads(snippet).items()}
    Recipe.parse(recipe | changed, where=snippet)


def test_the_index_that_is_shown_is_one():
    (shown,) = [block for language, block in blocks(DOCS / "hub.md") if language == "json"]
    Index.parse(json.loads(shown.replace("...", "0" * 64)), where=FILE)
