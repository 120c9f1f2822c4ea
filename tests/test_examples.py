"""The examples run as they are written."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import d3data.distill
import hubs
import made
import tiny_runs
from d3data import artifact
from d3data.distill import suggest
from d3data.evaluation import evaluation_plan
from pictures import needs_real

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested():
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f'example("{path.stem}")' in tested for path in EXAMPLES.glob("*.py"))


def test_a_classifier_learns_from_a_set(tmp_path, capsys):
    changes = ["warm_start.steps=300", "steps=2", "items_per_class=6"]
    recipe = d3data.distill.get_recipe("digits-ipc4", overrides=changes)
    folder = d3data.distill.run(recipe, out=tmp_path / "run", executor="inline")
    accuracy = example("train_a_classifier").main(str(folder), epochs=2)
    assert accuracy > 0.5  # chance is 0.1
    assert f"accuracy on real images: {accuracy:.3f}" in capsys.readouterr().out


def test_an_objective_of_your_own_becomes_an_artifact(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    folder = example("your_own_objective").main(tmp_path / "run", steps=30)
    lines = (tmp_path / "run/subtasks/000/metrics.jsonl").read_text().splitlines()
    first, *_, last = (json.loads(line)["loss"] for line in lines)
    assert last == pytest.approx(0.1 * first, abs=0.1 * first)
    assert "20 items (pixels)" in capsys.readouterr().out
    method = artifact.read(folder).manifest.about.method
    assert method.name == "pixels + your_own_objective:MeanImages"


@pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
def test_a_set_is_listed_under_a_short_name_and_loaded_by_it(tmp_path, capsys):
    made.write(tmp_path / "toys")
    before = dict(os.environ)
    assert example("short_name").main(str(tmp_path / "toys")) == 10
    assert capsys.readouterr().out.endswith("1.2.3: 10 images of 5 classes were drawn\n")
    assert dict(os.environ) == before


@needs_real
@pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
def test_the_rehearsal_of_imagenet_goes_from_its_recipe_to_a_short_name(tmp_path):
    short = ["steps=1", "warm_start.steps=1", "objective.real=2", "objective.samples=2"]
    small = {"count": 1, "epochs": 1, "network.width": 2, "batch": 1000}
    experts = [f"objective.experts.{key}={value}" for key, value in small.items()]
    slow = ["compute.compile=false", "compute.precision=float32"]
    few = [] if tiny_runs.soaking() else ["task.size=16", "items_per_class=8"]
    page = EXAMPLES / "tiny_imagenet_20.toml"
    recipe = d3data.distill.get_recipe(page, overrides=short + experts + slow + few)
    folder = d3data.distill.run(recipe, out=tmp_path / "run", executor="inline")
    found = artifact.read(folder)
    assert len(found.manifest.content.parts) == 4
    assert found.ledger.published_values <= 20 * 3 * 64 * 64
    assert example("short_name").main(str(folder)) == 40


def test_two_ranks_train_together(tmp_path):
    made.write(tmp_path / "toys")
    script = example("two_ranks").__file__  # its ranks import it as the script that it is
    told = subprocess.run(
        [sys.executable, "-W", "error", script, tmp_path / "toys"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 0", "epoch 1", "epoch 2"]
    assert all(line.endswith(" of 640 images") for line in lines)  # five classes of 128 draws
    assert told.stderr == ""


@pytest.mark.filterwarnings(
    "ignore:.isinstance.treespec, LeafSpec.. is deprecated",
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:The `srun` command is available",
)
def test_lightning_trains_on_a_set(tmp_path, capsys):
    pytest.importorskip("lightning")
    made.write(tmp_path / "toys")
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    options = {**quiet, "accelerator": "cpu", "default_root_dir": tmp_path}
    loss = example("train_with_lightning").main(
        str(tmp_path / "toys"), epochs=2, draws_per_class=32, **options
    )
    assert loss > 0
    assert f"loss {loss:.3f} after 2 epochs" in capsys.readouterr().out


def test_a_walk_is_a_film_of_all_classes(tmp_path, capsys):
    made.write(tmp_path / "toys")
    walk = example("walk")
    count = walk.main(str(tmp_path / "toys"), str(tmp_path / "w.gif"), steps=4, side=16)
    assert count == 4 * 9  # from each prior to the next one of its class
    with Image.open(tmp_path / "w.gif") as film:
        assert film.size == (9 * (16 + walk.GAP) + walk.GAP, 16 + 2 * walk.GAP)
        assert film.n_frames > 9
        sheet = np.array(film.convert("RGB"))
    assert "36 pictures of 5 classes" in capsys.readouterr().out
    assert (sheet[: walk.GAP] == 255).all()
    for column in range(9):
        left = walk.GAP + column * (16 + walk.GAP)
        assert (sheet[:, left - walk.GAP : left] == 255).all()
        cell = sheet[walk.GAP : walk.GAP + 16, left : left + 16]
        assert np.array_equal(cell, cell[::2, ::2].repeat(2, 0).repeat(2, 1))  # nothing smoothed


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the library leaves its files open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_shards_come_back_whole(tmp_path, capsys):
    made.write(tmp_path / "toys")
    out = str(tmp_path / "shards")
    assert example("export_to_webdataset").main(str(tmp_path / "toys"), out, 20) == 100
    assert f"100 images of 5 classes in {out}" in capsys.readouterr().out


def test_an_artifact_is_read_without_us():
    reader = example("read_without_d3data")  # tests/test_without_d3data.py compares every draw
    content, parts = reader.read(Path(__file__).parent / "golden" / "rounded")
    image, label = reader.draw(content, parts, seed=0, epoch=0, index=3)
    assert image.shape == (3, 8, 8)
    assert label.sum() == 1


def test_the_notebook_runs_from_top_to_bottom(monkeypatch, capsys):
    """In a few steps; its last cell says what the set is worth."""
    monkeypatch.setenv("FIRST_HOUR_MINUTES", "0.05")
    monkeypatch.setattr(evaluation_plan, "LEAST_STEPS", 2)
    monkeypatch.setattr(suggest, "LEAST", 1)
    shown = SimpleNamespace(Image=lambda content: content, display=lambda one: None)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=shown))
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    notebook = json.loads((EXAMPLES / "first_hour.ipynb").read_text(encoding="utf-8"))
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec("".join(cell["source"]), names)
    assert "guessing reaches 10.3 %" in capsys.readouterr().out
    assert names["report"].tests == len(names["digits"].test)
