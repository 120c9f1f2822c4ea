"""The recipes of ImageNet and Tiny ImageNet: what they take is what was published."""

import numpy as np
import pytest

from d3data.distill import get_recipe, prepare
from d3data.images.spec import Image
from d3data.sources.decoders import sizes
from d3data.utils.device import find_resources

IMAGE = Image(channels=3, size=64, mean=(0, 0, 0), std=(1, 1, 1))

# classes, subtasks, parameters of a decoder, values without and with soft labels, ratio of budget
PUBLISHED = {
    "imagenet-ipc1": (1000, 5, 789_187, 4_073_935, 5_073_935, 0.413),
    "imagenet-ipc2": (1000, 2, 5_774_691, 19_741_382, 21_741_382, 0.885),
    "imagenet-ipc10": (1000, 5, 6_308_547, 113_462_735, 123_462_735, 1.0047),
    "tiny-imagenet-ipc1": (200, 1, 789_187, 1_429_187, 2_429_187, 0.988),
    "tiny-imagenet-ipc10": (200, 1, 6_308_547, 22_692_547, 23_092_547, 0.940),
}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Black images of so many classes, in the place of real ones."""
    place = tmp_path_factory.mktemp("real")
    for classes in (200, 1000):
        arrays = {}
        for part, each in (("train", 3), ("val", 1)):
            labels = np.repeat(np.arange(classes), each)
            images = np.zeros((len(labels), 64, 64, 3), np.uint8)
            arrays |= {f"{part}_images": images, f"{part}_labels": labels}
        np.savez_compressed(place / f"{classes}.npz", **arrays)
    return place


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_plan_has_the_published_sizes(name, real, tmp_path):
    classes, subtasks, parameters, hard, soft, ratio = PUBLISHED[name]
    resources, recipe = find_resources("cpu", 1), get_recipe(name)
    plan = prepare(name, out=tmp_path / "run", data=real / f"{classes}.npz", resources=resources)
    found = plan.numbers()
    assert sizes(recipe.source.decoder, IMAGE).parameters() == parameters
    items = classes * recipe.items_per_class
    values = 2 * recipe.source.decoder.noise * items + subtasks * parameters
    assert values == hard
    assert (found["classes"], found["subtasks"], found["items"]) == (classes, subtasks, items)
    assert found["published_values"] == hard + items * classes == soft
    budget = int(name.rpartition("ipc")[2]) * classes * IMAGE.values
    assert found["published_values"] / budget == pytest.approx(ratio, abs=6e-4)
    assert found["steps"] == subtasks * recipe.steps
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_description_counts_the_values(name):
    assert f"{PUBLISHED[name][4]:,} values" in get_recipe(name).description
