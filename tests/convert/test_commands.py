"""The command `d3data convert`: as documents show it, run as a shell reads it, and misused.

Documented commands run on small files of the names that they give.
"""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import d3data
import pictures
import theirs
from d3data.cli.commands import app
from d3data.convert import whitening
from d3data.images import formats

ROOT = Path(__file__).parent.parent.parent
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PAGES = ("docs/converting.md", "docs/imagenet.md")
SHOWN = [
    (page, command)
    for page in PAGES
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    for command in re.findall(r"^d3data convert (?:.*\\\n)*.*$", block, re.MULTILINE)
]


def subtasks(folder, name, *, count, each):
    """Checkpoints of ImageNet, and soft labels of a teacher that is always right."""
    folder.mkdir(exist_ok=True)
    for number, rows in enumerate(torch.eye(1000).repeat_interleave(each, 0).chunk(count)):
        stored = theirs.priors(len(rows), 6, seed=number)
        content = theirs.content("small-64", theirs.decoder("small-64", seed=number), stored)
        torch.save(content, folder / f"ImageNet64_{name.format(number)}_final.pt")
        torch.save(rows.clone(), folder / f"ImageNet64_{name.format(number)}_softlabel.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All files that the pages name."""
    folder = tmp_path_factory.mktemp("documented")
    subtasks(folder / "checkpoints", "imagenethalf_{}_ipc2", count=2, each=2)
    subtasks(folder / "checkpoints", "imagebatch_{}_ipc1", count=5, each=1)
    for file in [*(folder / "checkpoints").iterdir()]:
        (folder / file.name).symlink_to(file)
    labels, names = np.arange(2000) % 1000, np.array([f"class {n}" for n in range(1000)])
    pixels = np.zeros((2000, 64, 64, 3), np.uint8)
    for place in ("PATH", "imagenet_64"):
        (folder / place).mkdir()
        where = folder / place / "real.npz"
        np.savez_compressed(where, train_images=pixels, train_labels=labels, classes=names)
    for place in ("cifar10", "folder"):
        pictures.image_folder(folder / place, classes=CIFAR, count=2, side=32)
    images, kinds = torch.rand(10, 3, 32, 32), torch.arange(10)
    mean, std = torch.tensor([[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]])[..., None, None]
    experiments = {"data": [[(images - mean) / std, kinds]]}
    torch.save(experiments, folder / "res_DM_CIFAR10_ConvNet_10ipc.pt")
    torch.save(images, folder / "images_best.pt")
    torch.save(kinds, folder / "labels_best.pt")
    torch.save(torch.tensor(0.02), folder / "lr_best.pt")
    pixels = np.zeros((10, 32, 32, 3), np.uint8)
    np.savez(folder / "images.npz", train_images=pixels, train_labels=np.arange(10))
    return folder


def words(command, folder):
    """The arguments that a shell gives to `d3data`."""
    script = f"d3data() {{ printf '%s\\n' \"$@\"; }}\n{command}"
    ended = subprocess.run(
        ["/bin/sh", "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    return ended.stdout.splitlines()


@pytest.mark.parametrize(("page", "command"), SHOWN)
def test_documented_conversions_run(folder, tmp_path, monkeypatch, page, command):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(whitening, "colored", lambda whitened, task, **_: whitened)
    arguments = words(command, folder)
    place = arguments.index("--out") + 1
    arguments[place] = str(tmp_path / Path(arguments[place]).name)
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 0, ended.output
    made = d3data.load(arguments[place])
    if "--data" in arguments:
        real = arguments[arguments.index("--data") + 1]
        assert tuple(made.classes) == formats.read(folder / real).classes


def test_conversions_are_documented():
    assert {page for page, _ in SHOWN} == set(PAGES)
    assert len(SHOWN) == 7


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


def test_what_exists_is_never_overwritten(tmp_path):
    torch.save([torch.rand(10, 3, 32, 32), torch.arange(10)], tmp_path / "x.pt")
    more = ["images", tmp_path / "x.pt", "--task", "cifar10", "--out", tmp_path / "set"]
    assert "give the --mean and --std" in call(*more, code=1)
    more += ["--mean", "0,0,0", "--std", "1,1,1"]
    assert call(*more).startswith(f"{tmp_path / 'set'}: 10 items")
    before = (tmp_path / "set" / "d3data.json").read_bytes()
    assert "already exists" in call(*more, code=1)
    assert (tmp_path / "set" / "d3data.json").read_bytes() == before


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
