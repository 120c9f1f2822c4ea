"""Recipes that fit bytes and minutes."""

import math

import pytest

import pictures
from d3data.artifact.quantize import stored_bytes
from d3data.distill import suggest as suggesting
from d3data.distill.budget import parse_size
from d3data.distill.suggest import ENOUGH, MANY, MOST, SAMPLES, SHARES, allot, suggest
from d3data.errors import BudgetError
from d3data.images.scan import scan_images
from d3data.images.spec import Image
from d3data.sources.registry import layout

STEP = {"experts": 0.1, "warm start": 0.05, "distill": 0.2}


def test_without_experts_their_seconds_go_to_the_rest():
    steps = allot(100.0, STEP | {"experts": math.inf}, epoch=10, workers=2)
    assert (steps.experts, steps.epochs) == (0, 0)
    assert steps.distill == 400


@pytest.mark.parametrize("seconds", [10.0, 60.0, 300.0, 3000.0])
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("epoch", [8, 200, 5000])
def test_what_is_allotted_takes_the_seconds(seconds, workers, epoch):
    steps = allot(seconds, STEP, epoch=epoch, workers=workers)
    rounds = -(-steps.experts // workers)
    samples = SAMPLES[steps.samples][0] / SAMPLES[0][0]
    experts = rounds * steps.epochs * epoch * STEP["experts"]
    warm = steps.warm_start * STEP["warm start"]
    distill = steps.distill * STEP["distill"] * samples
    assert experts <= SHARES["experts"] * seconds + 1e-9
    assert experts + warm + distill <= seconds + STEP["distill"]
    full = steps.distill == MOST["distill"] or steps.samples == len(SAMPLES) - 1
    assert full or experts + warm + distill >= 0.9 * seconds
    assert steps.samples == 0 or steps.distill >= MANY
    assert (steps.experts == 0) == (steps.epochs == 0)


@pytest.fixture
def clock(monkeypatch):
    """Steps on images of 32 px take STEP times `clock.slow`; others by their area."""

    class Clock:
        slow = 1.0

    def timed(self, side, images):
        return {stage: Clock.slow * one * (side / 32) ** 2 for stage, one in STEP.items()}

    monkeypatch.setattr(suggesting.Maker, "timed", timed)
    monkeypatch.setattr(suggesting, "start_seconds", lambda: 1.0)
    return Clock


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two classes of 40 images of 64 px."""
    folder = tmp_path_factory.mktemp("images") / "own"
    return scan_images(pictures.image_folder(folder, count=40, side=64))


def test_the_set_fits_and_the_recipe_is_that_of_small_maps(images, clock):
    made = suggest(images, size=20_000, minutes=10)
    recipe = made.recipe
    assert made.bought.bytes <= 20_000
    assert (recipe.quantize.priors, recipe.quantize.decoder) == ("int3", "int4")
    assert (recipe.source.kind, recipe.objective.kind, recipe.steps) == ("spatial", "sum", 0)
    assert recipe.quantize.steps > 0
    assert recipe.task.validation == 0.333
    assert recipe.task.data is None
    assert recipe.task.classes == 2
    assert "licence: not stated" in "\n".join(made.notes)
    assert suggest(images, size=20_000, license="MIT").recipe.task.license == "MIT"


def test_fewer_minutes_make_smaller_images_and_say_so(images, clock):
    sides = []
    for clock.slow in (0.1, 3.0, 30.0):
        made = suggest(images, size=50_000, minutes=10)
        sides.append(made.recipe.task.size)
        if sides[-1] < 64:
            assert f"images: 64 -> {sides[-1]} px to fit the minutes" in made.notes[0]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] == 64 > sides[-1]
    assert any(note.startswith("problem") and "steps are few" in note for note in made.notes)
    with pytest.raises(
        BudgetError, match=r"10 minutes .* enough for \d+ steps on images of 48 px"
    ) as few:
        suggest(images, size=50_000, minutes=10, side=48)
    needed = int(str(few.value).partition("--minutes ")[2].removesuffix(",").split()[0])
    assert "--size 48, which is" in str(few.value)
    given = suggest(images, size=50_000, minutes=needed, side=48)
    assert given.recipe.task.size == 48
    assert given.recipe.quantize.steps >= ENOUGH
    assert "as --size says" in given.notes[0]


def test_budgets_that_are_too_small_are_told_with_one_that_does(images, clock):
    with pytest.raises(BudgetError, match=r"give --budget \d+kB or more"):
        suggest(images, size=1_000)
    with pytest.raises(BudgetError) as failure:
        suggest(images, size=3_400)
    needed = str(failure.value).partition("--budget ")[2].split()[0]
    made = suggest(images, size=parse_size(needed))
    assert not [note for note in made.notes if "too few for 2 classes" in note]
    with pytest.raises(BudgetError, match="a number above 0"):
        suggest(images, size=20_000, minutes=0)


def test_more_minutes_make_longer_training(images, clock):
    short, long = (suggest(images, size=20_000, minutes=m, side=32).recipe for m in (4, 40))
    assert long.quantize.steps > short.quantize.steps
    assert long.warm_start.steps >= short.warm_start.steps


def test_what_is_bought_is_what_will_be_stored(images, clock):
    made = suggest(images, size=20_000, side=32)
    recipe, shape = made.recipe, Image(channels=3, size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    shapes = layout(recipe.source, shape, items=2 * recipe.items_per_class, classes=2)
    assert stored_bytes(shapes, recipe.quantization) <= made.bought.bytes
