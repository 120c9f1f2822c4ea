"""Baselines: real images of train, as many as the set's values pay for."""

import pytest
import torch

from d3data.errors import RecipeError
from d3data.evaluation import baselines
from d3data.evaluation.baselines import Photographs, random
from d3data.rng import generator


def keys(images):
    return {image.numpy().tobytes() for image in images}


def test_random_images_are_distinct_images_of_train(digits):
    chosen = random(digits.train, 7, rng=generator(0, "a"))
    assert torch.equal(chosen.labels.bincount(), torch.full((10,), 7))
    assert len(keys(chosen.images)) == 70
    train = digits.train.read(torch.arange(len(digits.train)))
    for label in range(10):
        assert keys(chosen.images[chosen.labels == label]) <= keys(
            train[digits.train.labels == label]
        )


def test_a_generator_repeats_and_another_chooses_others(digits):
    one, same, other = (random(digits.train, 5, rng=generator(0, key)) for key in "aab")
    assert torch.equal(one.images, same.images)
    assert not torch.equal(one.images, other.images)


def test_a_class_with_fewer_images_gives_them_all(digits):
    chosen = random(digits.validation, 10_000, rng=generator(0, "a"))
    assert chosen.labels.bincount().tolist() == digits.validation.counts()


def test_they_are_the_same_in_every_epoch():
    images, labels = torch.randn(4, 1, 8, 8, generator=generator(0)), torch.arange(4)
    photographs = Photographs(images, labels)
    for epoch in (0, 7):
        got, of = photographs.batch(epoch, torch.tensor([2, 0]), device=torch.device("cpu"))
        assert torch.equal(got, images[[2, 0]])
        assert of.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("values", "count"), [(100, 1), (640, 1), (641, 2), (1280, 2), (2450, 4), (6400, 10)]
)
def test_real_images_take_as_many_values_as_the_set_or_a_few_more(digits, values, count):
    draws = Photographs(torch.zeros(30, 1, 8, 8), torch.arange(30) % 10)
    assert baselines.per_class(draws, digits, values=values) == count


def test_a_set_that_tells_no_values_counts_its_images(digits):
    draws = Photographs(torch.zeros(39, 1, 8, 8), torch.arange(39) % 10)
    assert baselines.per_class(draws, digits, values=None) == 3


def test_an_unknown_baseline_names_those_there_are():
    with pytest.raises(RecipeError, match="known: random"):
        baselines.named("herding")
