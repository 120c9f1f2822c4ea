"""The command `d3data convert`."""

import json

import pytest
import torch
from typer.testing import CliRunner

import d3data
import theirs
from d3data.cli import app


def call(*arguments, code=0):
    result = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_checkpoints_with_soft_labels_in_a_pattern(tmp_path):
    paths, _, stored = theirs.subtasks(tmp_path, "small")
    for number, each in enumerate(stored):
        rows = theirs.soft(len(each), 10, seed=number, own=range(5 * number, 5 * number + 5))
        torch.save(rows, tmp_path / f"{number}_softlabel.pt")
    more = ["--soft-labels", tmp_path / "*_softlabel.pt", "--task", "cifar10", "--norms", "batch"]
    (tmp_path / "names.txt").write_text("\n".join("abcdefghij"))
    more += ["--classes", tmp_path / "names.txt", "--license", "MIT", "--json"]
    told = json.loads(call("d3-official", *paths, "--out", tmp_path / "set", *more))
    data = d3data.load(tmp_path / "set")
    assert told["items"] == 30
    assert data.classes == [*"abcdefghij"]
    rows = theirs.soft(15, 10, seed=1, own=range(5, 10))
    assert torch.equal(data.draw(0, 5)[1], rows[0])


def test_images_with_labels(tmp_path):
    torch.save(torch.rand(10, 3, 32, 32), tmp_path / "x.pt")
    torch.save(torch.arange(10), tmp_path / "y.pt")
    more = ["--labels", tmp_path / "y.pt", "--task", "cifar10", "--out", tmp_path / "set"]
    colors = ["--mean", "0,0,0", "--std", "1,1,1"]
    said = call("images", tmp_path / "x.pt", *more, *colors)
    before = (tmp_path / "set" / "d3data.json").read_bytes()
    assert "already exists" in call("images", tmp_path / "x.pt", *more, *colors, code=1)
    assert (tmp_path / "set" / "d3data.json").read_bytes() == before
    assert said.startswith(f"{tmp_path / 'set'}: 10 items")
    elsewhere = [*more[:-1], tmp_path / "other"]
    assert "give the --mean and --std" in call("images", tmp_path / "x.pt", *elsewhere, code=1)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--mean", "a"], "--mean"),
        (["--soft-labels", "/none/*.pt"], "--soft-labels"),
        (["--classes", "/none"], "--classes"),
    ],
)
def test_wrong_usage_is_told(tmp_path, options, fault):
    said = call("d3-official", "x.pt", "--out", tmp_path / "set", *options, code=2)
    assert fault in said


def test_a_hostile_file_ends_with_3(tmp_path):
    torch.save({"x": torch.nn.Linear(1, 1)}, tmp_path / "x.pt")
    said = call("d3-official", tmp_path / "x.pt", "--out", tmp_path / "set", code=3)
    assert "Linear" in said
    assert not (tmp_path / "set").exists()
