"""`d3data init` on what people bring: what it says, and that `distill` takes what it accepts."""

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tiny_runs
from d3data.cli.commands import app
from d3data.distill import get_recipe, prepare
from d3data.images.tasks import load_task
from d3data.utils.device import find_resources
from pictures import encoded, picture
from places import PNG, pets, put, samples, table

RESOURCES = find_resources("cpu", 1, inline=True)


def init(place: Path, *options: object, code: int = 0) -> str:
    """What it says on stderr; the recipe is `own.toml` beside the place."""
    out = place.parent / f"{place.name}.toml"
    out.unlink(missing_ok=True)
    command = ["init", str(place), "--out", str(out), *map(str, options)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == code, result.output
    return result.stderr


def load(place: Path):
    """The task that the recipe of `init` makes of the place."""
    return get_recipe(place.parent / f"{place.name}.toml").task.load(place)


def test_it_says_classes_counts_and_what_is_left_out(tmp_path):
    files = pets("train/", 4) | pets("val/", 2) | {"train/notes.txt": "x", "README": "x"}
    said = init(put(tmp_path / "Own Pets", files))
    for line in (
        "12 images of 2 classes, 12 looked at",
        "train: 8 images, evenly: cat 4, dog 4",
        "validation: 4 images, evenly: cat 2, dog 2",
        "left out: 1 .txt, 1 without a suffix",
        "its validation split is what is evaluated on (--split test)",
    ):
        assert line in said
    task = load(tmp_path / "Own Pets")
    assert (task.test.counts(), task.name) == ([2, 2], "own-pets")


@pytest.mark.parametrize(
    ("files", "fault", "options", "classes"),
    [
        ({"t.parquet": table(list("abab"), label="kind")}, "no label column",
         ("--columns", "image", "kind"), ("a", "b")),
        (pets("train/") | pets("more/"), "more, beside train", ("--split", "train=train"), None),
        ({f"cat/{n}.png": PNG for n in range(3)}, "one class only", ("--classes", 1), ("cat",)),
        (pets(), "--split train=NAME", ("--split", "train"), None),
    ],
)  # fmt: skip
def test_its_remedies_can_be_carried_out(files, fault, options, classes, tmp_path):
    place = put(tmp_path / "own", files)
    if fault.startswith("--split"):
        assert fault in init(place, *options, code=2)
        return
    assert fault in init(place, code=1)
    init(place, *options)
    assert load(place).classes == (classes or ("cat", "dog"))
    made = (tmp_path / "own.toml").read_text()
    assert f"# Made by d3data init {place} --budget 100kB {' '.join(map(str, options))}" in made


def test_the_range_of_deep_images_is_said_and_kept(tmp_path):
    place = put(tmp_path / "scans", {})
    for number in range(6):
        values = np.full((16, 16), 600 * number + 1, np.uint16)
        path = place / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    assert "pixels of grey images of 16 bits go to 3001 of 65535" in init(place, code=1)
    with pytest.raises(Exception, match="--white 4095"):
        load_task("x", data=place)
    assert "white is 4095" in init(place, "--white", 4095)
    task = load(place)
    assert task.rule.white == 4095
    pixels = task.train.pixels(range(len(task.train)))
    assert sorted(pixels.unique().tolist()) == sorted(
        {round((600 * n + 1) * 255 / 4095) for n in range(6)} & {*pixels.unique().tolist()}
    )
    assert "white is 65535" in init(place, "--white", 65535)


@pytest.mark.parametrize("seed", range(30 if tiny_runs.soaking() else 10))
def test_what_init_accepts_distill_accepts(seed, tmp_path):
    rng = random.Random(seed)
    place = put(tmp_path / rng.choice(["own", "MNIST", "cifar10", "a b"]), _files(rng))
    result = CliRunner().invoke(
        app, ["init", str(place), "--out", str(tmp_path / "own.toml"), "--budget", "20kB"]
    )
    assert result.exit_code in (0, 1), result.output
    assert isinstance(result.exception, SystemExit | None)
    if result.exit_code == 0:
        recipe = get_recipe(tmp_path / "own.toml")
        plan = prepare(recipe, out=tmp_path / "run", data=str(place), resources=RESOURCES)
        for split in (plan.task.train, plan.task.validation, plan.task.test):
            assert split is None or split.pixels(range(len(split))).shape[2] == plan.task.size


def _files(rng: random.Random) -> dict[str, bytes]:
    """Images of some modes and sizes in some layout, some of them broken or astray."""
    names = rng.choice([("",), ("train/", "test/"), ("train/", "val/"), ("train/", "extra/"),
                        ("train/", "val/", "test/")])  # fmt: skip
    kinds = rng.sample(["cat", "dog", "eel", "x" * 210, "a\tb"], rng.choice([1, 2, 2, 3]))
    modes = rng.choice([["RGB"], ["L"], ["RGB", "L", "RGBA", "P"], ["I;16"], ["CMYK"], ["F", "L"]])
    files = {}
    for part in names:
        for kind in kinds:
            for number in range(rng.choice([1, 2, 4, 4])):
                files[f"{part}{kind}/{number}.tif"] = _image(rng, rng.choice(modes))
    extra = {"x.png": PNG, "cat/y.png": b"", "notes.txt": b"x", "cat/z": PNG}
    if rng.random() < 0.3:
        name = rng.choice([*extra])
        files[name] = extra[name]
    return rng.choice(
        [files, files, files, {"t.tar": samples(6)}, {"t.parquet": table([0, 2] * 3)}]
    )


def _image(rng: random.Random, mode: str) -> bytes:
    size = {"width": rng.choice([8, 9, 40]), "height": rng.choice([8, 30])}
    if mode in ("I;16", "F"):
        top = rng.choice([300, 65535])
        values = np.linspace(0, top, size["width"] * size["height"]).reshape(size["height"], -1)
        image = Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.float32))
    else:
        image = picture(rng.randrange(1000), mode=mode, **size)
    return encoded(image, "tiff")
