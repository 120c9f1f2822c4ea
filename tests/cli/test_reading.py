"""Images that are no distilled set: every command reads them by the rules of `init`."""

import numpy as np
import pyarrow
import pytest
from PIL import Image
from typer.testing import CliRunner

from d3data.cli.commands import app
from d3data.errors import DataError
from d3data.evaluation import adapters, plan
from d3data.images.tasks import load_task
from pictures import encoded, picture
from places import PETS, put, table

REAL = {f"{split}/{kind}/{n}.png": encoded(picture(n, width=8, height=8))
        for split in ("train", "test") for kind in PETS for n in range(4)}  # fmt: skip
QUICK = ("--seeds", "1", "--baselines", "none", "--dry-run")


def call(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == code, result.output
    return result.stderr


@pytest.fixture
def real(tmp_path):
    return put(tmp_path / "real", REAL)


def trained(place, task, **reading):
    """What is trained on, by `evaluate` and `audit`."""
    return adapters.as_training_data(str(place), task, reading)


def test_a_place_without_train_is_refused_and_one_with_more_says_what_is_taken(real, tmp_path):
    task = load_task("pets", data=real)
    place = put(tmp_path / "p", {"test.parquet": table([*PETS])})
    with pytest.raises(DataError, match=r"no train split but test: .*--split train=NAME"):
        trained(place, task)
    assert len(trained(place, task, splits={"train": "test*"})) == 2
    found = trained(real, task)
    assert (len(found), *found.notes) == (8, "trained on: 8 images of train; not test")


def test_images_of_unknown_range_are_refused_or_read_as_is_said(real, tmp_path):
    task = load_task("pets", data=real)
    files = {}
    for kind in PETS:
        pixels = np.full((8, 8), 3000, np.uint16)
        files[f"{kind}/0.png"] = encoded(Image.fromarray(pixels))
    place = put(tmp_path / "deep", files)
    with pytest.raises(DataError, match=r"99 % of the pixels .*--white 4095"):
        trained(place, task)
    image = trained(place, task, white=6000.0).images.pixels([0])
    assert image.unique().tolist() == [128]
    fault = call("convert", "images", place, "--task", "pets", "--data", real,
                 "--out", tmp_path / "set", code=1)  # fmt: skip
    assert "--white 4095" in fault
    call("convert", "images", place, "--task", "pets", "--data", real, "--white", 4095,
         "--as-given", "--out", tmp_path / "set")  # fmt: skip


def test_columns_and_splits_are_chosen_in_every_command(real, tmp_path):
    images = pyarrow.array([encoded(picture(n, width=8, height=8)) for n in range(4)])
    content = table([*PETS] * 2, label="species", image="photo", mask=images)
    place = put(tmp_path / "p", {"a.parquet": content, "b_test.parquet": content})
    chosen = ("--columns", "photo", "species", "--split", "train=a.*")
    for command in (
        ("init", place, "--out", tmp_path / "x.toml"),
        ("convert", "images", place, "--task", "x", "--data", real, "--out", tmp_path / "set"),
        ("evaluate", place, "--task", "x", "--data", real, *QUICK),
        ("audit", place, "--task", "x", "--data", real),
    ):
        fault = call(*command, code=1)
        assert "a.parquet speak of no split" in fault
        fault = call(*command, *chosen[3:], code=1)
        assert "no image column among photo, species, mask" in fault
    call("init", place, *chosen, "--out", tmp_path / "x.toml")
    call("convert", "images", place, "--task", "x", "--data", real, *chosen,
         "--out", tmp_path / "set")  # fmt: skip
    how = {"columns": ("photo", "species"), "splits": {"train": "a.*"}}
    planned = plan(str(place), "x", data=real, seeds=[0], baselines="none", **how)
    assert "columns: photo, species; not mask" in planned.data.notes
    assert "write --split test" in call("evaluate", place, "--split", "no", code=2)


def test_a_recipe_says_how_real_images_are_read(real, tmp_path):
    content = {f"{part}.parquet": table([*PETS] * 4, label="species") for part in ("a", "test_b")}
    place, recipe = put(tmp_path / "p", content), tmp_path / "own.toml"
    chosen = ("--columns", "image", "species", "--split", "train=a.*", "--split", "test=test_b.*")
    call("init", place, *chosen, "--out", recipe)
    task = load_task(str(recipe), data=place)
    assert (task.name, len(task.test), task.classes) == ("p", 8, PETS)
    fault = call("evaluate", real, "--task", "x", "--data", place, *QUICK, code=1)
    assert "--task takes such a recipe" in fault
    call("evaluate", real, "--task", recipe, "--data", place, *QUICK)
    out = tmp_path / "set"
    call("convert", "images", real, "--task", recipe, "--data", place, "--split", "train=train",
         "--out", out)  # fmt: skip
    how = {"columns": ("image", "species"), "splits": {"train": "a.*", "test": "test_b.*"}}
    assert len(plan(out, data=place, seeds=[0], baselines="none", **how).setup.tests) == 8
    with pytest.raises(DataError, match=r"has no \[task\]"):
        load_task(str(put(tmp_path, {"bare.toml": "a = 1"}) / "bare.toml"))
