"""What images a source of pixels begins with."""

import numpy as np
import pytest
import torch

import tiny_runs as runs
import toys
from d3data import artifact, distill
from d3data.errors import RecipeError
from d3data.images.selection import centers, herd

PIXELS = {
    "source": {"kind": "pixels"},
    "optimizers": {},
    "objective": None,
    "steps": 0,
    "items_per_class": 2,
}


def started(tmp_path, images, **changed):
    recipe = runs.recipe(**{**PIXELS, "warm_start": {"images": images}, **changed})
    made = artifact.read(distill.run(recipe, out=tmp_path / images, executor="inline"))
    task = recipe.task.load()
    return made.sources()[0].pixels, task.train


@pytest.mark.parametrize(("images", "choose"), [("herding", herd), ("k-center", centers)])
def test_images_are_chosen_by_their_pixels(images, choose, tmp_path):
    pixels, train = started(tmp_path, images)
    for label in (0, 9):
        rows = (train.labels == label).nonzero().flatten()
        own = train.read(rows)
        expected = own[choose(own.flatten(1), 2)]
        torch.testing.assert_close(pixels[2 * label : 2 * label + 2], expected, rtol=0, atol=0)


def test_images_are_chosen_by_the_features_of_an_expert(tmp_path):
    changed = {"objective": runs.MTT, "steps": 1}
    changed |= {"optimizers": {"pixels": {"kind": "sgd", "learning_rate": 1e-30}}}
    by_expert, train = started(tmp_path, "k-means", **changed)
    everything = train.read(torch.arange(len(train)))
    for image in by_expert:
        assert (everything - image).abs().flatten(1).amax(1).min() < 1e-6
    by_pixels, _ = started(tmp_path / "by pixels", "k-means")
    assert not torch.equal(by_expert, by_pixels)


def test_noise_is_standard_normal_and_needs_no_images(tmp_path):
    pixels, _ = started(tmp_path, "noise", items_per_class=40, draws_per_class=40)
    values = pixels.flatten().numpy()
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - 1) < 0.03
    assert len(np.unique(values)) > 0.99 * len(values)


def test_only_pixels_begin_as_images():
    with pytest.raises(RecipeError, match=r"warm_start\.images: a gaussian source has no pixels"):
        runs.recipe(warm_start={"images": "noise"})


def test_a_selection_of_one_class_begins_with_what_stands_for_it():
    features = toys.task().train.read([0, 1, 2, 3]).flatten(1)
    assert centers(features, 1).tolist() == [
        int((features - features.mean(0)).norm(dim=1).argmin())
    ]
