"""The command export."""

import json
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import made
import tiny_runs as runs
from d3data.cli import progress
from d3data.cli.commands import app
from d3data.data.export import export
from d3data.data.load import load

MAIN = [sys.executable, "-c", "from d3data.cli import main; main()"]


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> Path:
    return made.write(tmp_path_factory.mktemp("made") / "toys").folder


def call(*arguments, code=0):
    """Run the command; its stdout and stderr."""
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def test_it_writes_what_the_function_writes(toys, tmp_path):
    options = ["--format", "npz", "--draws", "9", "--seed", str(2**64 - 1)]
    stdout, stderr = call(toys, *options, "--out", tmp_path / "out")
    assert (stdout, stderr) == (f"{tmp_path / 'out'}\n", "")
    export(load(toys, seed=2**64 - 1), tmp_path / "same", format="npz", draws_per_class=9)
    for file in (tmp_path / "same").iterdir():
        assert file.read_bytes() == (tmp_path / "out" / file.name).read_bytes()


def test_it_gives_one_document_and_a_finished_copy_is_left_alone(toys, tmp_path):
    options = [toys, "--format", "webdataset", "--out", tmp_path / "out", "--json"]
    document = {
        "folder": str(tmp_path / "out"),
        "format": "webdataset",
        "images": 30,
        "was_there": False,
    }
    assert json.loads(call(*options)[0]) == document
    stdout, stderr = call(*options)
    assert json.loads(stdout) == document | {"was_there": True}
    assert "exists already, and is this export" in stderr


def test_errors_are_a_line_and_a_code(toys, tmp_path):
    out = ["--out", tmp_path / "out"]
    (tmp_path / "out").mkdir()
    _, stderr = call(toys, "--format", "npz", *out, code=1)
    assert re.fullmatch(r"error: .*out already exists and is not an export: choose.*\n", stderr)
    assert "tfrecord" in call(toys, "--format", "tfrecord", *out, code=2)[1]
    assert "--draws" in call(toys, "--format", "npz", "--draws", "0", *out, code=2)[1]
    call("no-such-set", "--format", "npz", *out, code=1)


def test_progress_is_a_line_now_and_then(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    _, stderr = call(toys, "--format", "npz", "--draws", "100", "--out", tmp_path / "out")
    assert re.search(r"^export 500/500, 0 seconds left$", stderr, re.MULTILINE)
    assert "loss" not in stderr


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(toys, tmp_path):
    out = tmp_path / "out"
    options = [toys, "--format", "imagefolder", "--draws", "600", "--out", out]
    terminal, child = pty.openpty()
    pipes = {"stdout": subprocess.PIPE, "stderr": child, "text": True}
    with runs.command("export", *options, **pipes) as process:
        runs.os.close(child)
        runs.until(lambda: [*tmp_path.glob(".out.partial/done/*")])
        process.send_signal(signal.SIGINT)
        said = b""
        while not re.search(rb"stopped.*\n", said):
            said += runs.os.read(terminal, 10_000)
        stdout, _ = process.communicate()
    runs.os.close(terminal)
    assert (process.returncode, stdout) == (130, "")
    assert re.search(r"export.*\d+/3000", said.decode(errors="replace"))  # a bar
    assert f"stopped; run the same command again to continue {out}" in said.decode()
    assert b"Traceback" not in said
    assert not out.exists()
    call(*options)
    assert len([*out.glob("train/*/*.png")]) == 3000
    assert not (tmp_path / ".out.partial").exists()
