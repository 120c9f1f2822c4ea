"""Every snippet and every command of the tutorials and of the first page runs as it is written."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hubs
from d3data.cli.commands import app

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [DOCS / "index.md", *sorted((DOCS / "tutorials").glob("*.md"))]
NOT_RUN = {"pip install d3data"}


def perform(page, folder):
    """Run the blocks of a page in a folder, as a reader would; return the names they left."""
    names: dict = {}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        named = re.match(r"# ([\w-]+\.(?:py|toml))\n", block)
        if named:
            (folder / named[1]).write_text(block, encoding="utf-8")
        elif language == "python":
            exec(compile(block, str(page), "exec"), names)
        elif language == "sh":
            for line in (line for line in block.splitlines() if line not in NOT_RUN):
                ended = CliRunner().invoke(app, shlex.split(line)[1:])
                assert ended.exit_code == 0, (line, ended.output)
    return names


@pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names = perform(page, tmp_path)
    told = capsys.readouterr().out
    for shown in re.findall(r"```text\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        assert shown in told
    if page.stem == "train":
        assert names["accuracy"] > 0.8  # chance is 0.1
