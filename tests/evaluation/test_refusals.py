"""What evaluate() refuses before it trains, and what a set says of its real images."""

from dataclasses import replace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from d3data.errors import (
    ArtifactError,
    DataError,
    DeviceError,
    FormatError,
    RecipeError,
    TrainingError,
    UnknownNameError,
)
from d3data.evaluation import adapters, evaluate, plan, validate
from d3data.evaluation.baselines import Photographs
from d3data.images.spec import Image, Whitening
from d3data.images.tasks import load_task
from pictures import encoded, picture
from spies import linear, untouched


def refused(error, message, data, task=None, **options):
    with pytest.raises(error, match=message):
        evaluate(data, task, progress=untouched, **options)


def tensors(images=None, labels=None):
    images = torch.zeros(20, 1, 8, 8) if images is None else images
    return Photographs(images, torch.arange(20) % 10 if labels is None else labels)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": torch.zeros(20, 1, 16, 16)}, DataError, "1x16x16 .* 1x8x8"),
        ({"images": torch.zeros(20, 3, 8, 8)}, DataError, "3x8x8"),
        ({"images": torch.zeros(0, 1, 8, 8)}, DataError, "no images"),
        ({"images": torch.full((20, 1, 8, 8), torch.inf)}, ArtifactError, "not finite"),
        ({"labels": torch.arange(20)}, DataError, "labels from 0 to 19"),
        ({"labels": torch.arange(20) - 1}, DataError, "labels from -1"),
        ({"labels": torch.zeros(20, 9)}, DataError, r"\(20, 9\) .* \(B, 10\)"),
        ({"labels": torch.zeros(20, 1).long()}, DataError, r"\(20, 1\)"),
        ({"labels": torch.zeros(20, 10)}, DataError, "not probabilities"),
        ({"labels": 2 * torch.eye(10).repeat(2, 1) - 0.1}, DataError, "not probabilities"),
        ({"labels": 1.1 * torch.eye(10).repeat(2, 1)}, DataError, "not probabilities"),
        ({"labels": torch.full((20, 10), torch.nan)}, DataError, "not probabilities"),
        ({"labels": torch.eye(10).repeat(2, 1).half()}, DataError, "float16"),
        ({"labels": torch.arange(20).int() % 10}, DataError, "int32"),
        ({"images": torch.zeros(20, 1, 8, 8).double()}, DataError, "float64"),
    ],
)
def test_a_set_that_does_not_fit(digits, tiny, changes, error, message):
    refused(error, message, tensors(**changes), digits, protocol=tiny)


def test_whitened_values_are_not_compared_with_real_images(written, digits, tiny, tmp_path):
    whitening = Whitening(regularization=0.1, images_sha256="0" * 64)
    image = Image(channels=1, size=8, mean=digits.mean, std=digits.std, whitening=whitening)
    refused(DataError, "whitened", written(tmp_path / "a", image=image), digits, protocol=tiny)


def test_all_of_an_epoch_is_looked_at(digits, tiny):
    data = Photographs(torch.zeros(900, 1, 8, 8), torch.arange(900) % 10)
    data.images[899] = torch.nan
    refused(ArtifactError, "not finite", data, digits, protocol=tiny)
    data.images[899], data.labels[899] = 0, 77
    refused(DataError, "labels from 0 to 77", data, digits, protocol=tiny)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": tuple("abcdefghij")}, "10 classes and digits has 10; they differ in 0, 1"),
        ({"classes": tuple("1032456789")}, "their order"),
        ({"mean": (0.5,)}, "mean"),
        ({"test": None}, r"no test images.*--split validation \(split='validation'\)"),
        ({"test": None, "classes": ("a", "b")}, "has 10 classes and digits has 2"),
    ],
)
def test_a_task_that_does_not_fit(pixels, digits, tiny, changes, message):
    refused(DataError, message, pixels, replace(digits, **changes), protocol=tiny)
    rule = digits.rule.model_copy(update={"fit": "squash"})
    refused(DataError, "rule", pixels, replace(digits, rule=rule), protocol=tiny)


class Pair(torch.nn.Module):
    def forward(self, images):
        return images, images


def own(make):
    return {"networks": {"mine": make}}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"protocol": "quik"}, RecipeError, "quick"),
        ({"baselines": ["randm"]}, RecipeError, "random"),
        ({"seeds": [1, 1]}, DataError, "none twice"),
        ({"seeds": []}, DataError, "at least one"),
        ({"seeds": 5}, DataError, r"seeds=range\(5\)"),
        ({"seeds": [-1]}, DataError, "seed .* got -1"),
        ({"seeds": ["a"]}, DataError, "seed .* got 'a'"),
        ({"baseline_seeds": 2}, DataError, r"baseline_seeds=2: a list is needed"),
        ({"split": "train"}, DataError, "test, validation"),
        ({"labels": []}, DataError, "hard, soft or both"),
        ({"labels": ["soft"]}, DataError, "has hard labels"),
        ({"labels": ["sft"]}, DataError, "did you mean soft"),
        ({"nets": []}, TrainingError, "no network"),
        ({"nets": ["resnt18"]}, UnknownNameError, "did you mean resnet18"),
        ({"nets": ["resnet18/bach"]}, TrainingError, "bach"),
        ({"networks": {}}, TrainingError, "no network"),
        ({"nets": ["mlp"], **own(torch.nn.Flatten)}, TrainingError, "give one of them"),
        (own(lambda **shape: torch.nn.Flatten()), TrainingError, "mine returns"),
        (own(lambda **shape: Pair()), TrainingError, "mine returns tuple"),
        (own(lambda: None), TrainingError, "mine cannot be built"),
        (
            own(lambda **shape: torch.nn.Conv2d(1, 4, 20)),
            TrainingError,
            "network mine .*cannot take two images of 1x8x8",
        ),
        ({"baselines": ["random", "herding"], **own(linear)}, TrainingError, "whose features"),
        ({"baselines": ["random", "random"]}, RecipeError, "once"),
        ({"baselines": ["random", "means"]}, DataError, "Gaussian priors"),
        ({"device": "cuda:99"}, DeviceError, "no device 'cuda:99'"),
        ({"compile": True, "train": lambda network, data, **more: None}, TrainingError, "compile"),
    ],
)
def test_a_wrong_word(pixels, tiny, changes, error, message):
    refused(error, message, pixels, **{"protocol": tiny} | changes)
    wrong = tiny.model_copy(update={"augment": "siamse"})
    refused(RecipeError, "did you mean siamese", pixels, protocol=wrong)


def test_what_tensors_and_own_networks_cannot_do(priors, digits, tiny):
    """Own networks teach neither a baseline nor the random images of scores."""
    refused(DataError, r"evaluate\(data, task\)", tensors(), protocol=tiny)
    for name in ("random-bytes", "compressed"):
        options = {"protocol": tiny, "baselines": ["random", name]}
        refused(DataError, "whose bytes are known", tensors(), digits, **options)
    soft = tensors(labels=torch.eye(10).repeat(2, 1))
    message = "scores need hard labels too, and a Photographs"
    refused(DataError, message, soft, digits, protocol=tiny, scores=True)
    options = {"protocol": tiny, "scores": True, "baselines": (), **own(linear)}
    refused(TrainingError, "whose features", priors, digits, **options)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda n: torch.zeros(1, 8, 8), "not an image with a label"),
        (lambda n: {"img": torch.zeros(1, 8, 8), "label": 1}, "KeyError"),
        (lambda n: (torch.zeros(1, 8, 8), "cat"), "not an image with a label"),
        (lambda n: (np.zeros((8, 8)), 1), "8 bits"),
        (lambda n: (torch.zeros(1, 8, 4 + n % 2), 1), "differ in shape"),
    ],
)
def test_samples_that_are_none_are_named(digits, tiny, sample, message):
    refused(DataError, message, [sample(n) for n in range(60)], digits, protocol=tiny)


@pytest.mark.parametrize("data", [{1: 2}.keys(), 5, iter([])])
def test_what_nobody_can_train_on(digits, tiny, data):
    refused(DataError, "cannot be trained on", data, digits, protocol=tiny)


@pytest.mark.parametrize(
    ("changes", "baselines", "what"),
    [
        ({"learning_rates": (0.1, 0.05)}, ["random"], "a learning rate"),
        ({}, ["random", "compressed"], "compressed"),
    ],
)
def test_what_is_chosen_needs_validation_images(pixels, digits, tiny, changes, baselines, what):
    bare, protocol = replace(digits, validation=range(0)), tiny.model_copy(update=changes)
    message = f"no validation images, on which {what} would be chosen"
    refused(DataError, message, pixels, bare, protocol=protocol, baselines=baselines)
    plan(pixels, bare, protocol=tiny, baselines=["random"])


def test_a_task_that_cannot_fit_is_not_fetched_and_is_called_by_its_place(
    pixels, digits, monkeypatch
):
    monkeypatch.setattr(adapters, "load_task", lambda *_, **__: pytest.fail("it was fetched"))
    with pytest.raises(DataError, match="10 classes of 1x8x8 images and cifar10 has 10 classes"):
        plan(pixels, "cifar10")

    cats = replace(digits, classes=("cat", "dog"))
    with pytest.raises(DataError, match=r"10 classes and digits \(\./cats\) has 2"):
        validate.require_fit(pixels, cats, "./cats")


def origin(written, folder, text, data=None):
    """The task of a set with a recipe."""
    return validate.origin(written(folder, extras={"recipe.toml": text.encode()}), data)


def test_the_task_is_that_of_the_recipe_without_its_place(written, pixels, tmp_path):
    table = "name = 'digits'\nvalidation = 0.3\ndata = '/nowhere'\n"
    task = origin(written, tmp_path / "a", f"[task]\n{table}")
    expected = load_task("digits", validation=0.3)
    assert (task.fingerprint, task.source) == (expected.fingerprint, expected.source)
    assert len(task.validation) > 2 * len(validate.origin(pixels, None).validation)


def test_without_a_recipe_the_task_is_normalized_as_the_set_is(written, pixels, tmp_path):
    image = pixels.image.model_copy(update={"mean": (0.5,), "std": (0.25,)})
    task = validate.origin(written(tmp_path / "a", image=image), None)
    assert (task.mean, task.std) == ((0.5,), (0.25,))
    shades = task.train.pixels([0]) / 255
    torch.testing.assert_close(task.train.read([0]), (shades - 0.5) / 0.25)


def test_the_classes_of_a_merged_set_may_have_another_order(written, digits, tmp_path):
    names = (*digits.classes[5:], *digits.classes[:5])
    task = validate.origin(written(tmp_path / "merged", classes=names), None)
    assert task.classes == names
    assert task.test.counts() == [*digits.test.counts()[5:], *digits.test.counts()[:5]]


def test_the_columns_of_a_recipe_are_read(written, tmp_path):
    columns = {"left": [encoded(picture(i)) for i in range(40)], "right": ["a", "b"] * 20}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "own.parquet")
    text = "[task]\nname = 'digits'\ncolumns = ['left', 'right']\n"
    assert origin(written, tmp_path / "a", text, tmp_path / "own.parquet").classes == ("a", "b")


@pytest.mark.parametrize("text", ["[task", "steps = 1", "task = 3", "[task]\nnam = 'digits'\n"])
def test_a_broken_recipe_in_the_set_is_named(written, tmp_path, text):
    with pytest.raises(FormatError, match=r"recipe\.toml of the set"):
        origin(written, tmp_path / "a", text)
