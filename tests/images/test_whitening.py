"""Whitened images: what they are, in all splits of a task, and sets that are made of them."""

import numpy as np
import pytest
import torch

import d3data
import tiny_runs as runs
from d3data import artifact, distill, nets
from d3data.errors import DataError, RecipeError
from d3data.evaluation.protocols import Protocol
from d3data.images.tasks import TaskSpec
from d3data.images.whitening import Zca

RATE = 0.1


@pytest.fixture(scope="module")
def plain():
    return d3data.load_task("digits")


@pytest.fixture(scope="module")
def whitened():
    return TaskSpec(name="digits", whitening=RATE).load()


def test_the_matrix_is_the_inverse_root_of_the_regularized_covariance():
    images = torch.randn(40, 2, 3, 3, generator=torch.manual_seed(0)) * 3 + 1
    zca = Zca.of(images.split(7), regularization=0.5)
    values = images.flatten(1).double().numpy()
    covariance = np.cov(values.T) + 0.5 * np.eye(18)
    matrix = zca.matrix.double().numpy()
    np.testing.assert_allclose(matrix @ covariance @ matrix, np.eye(18), atol=1e-4)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
    expected = (values - values.mean(0)) @ matrix
    np.testing.assert_allclose(zca(images).flatten(1), expected, atol=1e-4)


def test_every_split_is_whitened_by_the_train_images(plain, whitened):
    lots = [plain.train.read(torch.arange(len(plain.train)))]
    zca = Zca.of(lots, regularization=RATE)
    for part in ("train", "validation", "test"):
        own, other = getattr(whitened, part), getattr(plain, part)
        torch.testing.assert_close(own.read([0, 5]), zca(other.read([0, 5])))
    assert whitened.train.read(torch.arange(900)).var() < 1
    some = whitened.subtask([3, 1])
    rows = (plain.train.labels == 3).nonzero().flatten()[:2]
    mine = (some.train.labels == 0).nonzero().flatten()[:2]
    torch.testing.assert_close(some.train.read(mine), zca(plain.train.read(rows)))
    pixels = plain.test.pixels([4])
    torch.testing.assert_close(whitened.normalized(pixels), whitened.test.read([4]))


def test_a_whitened_task_is_another_and_says_by_which_images(plain, whitened):
    assert whitened.fingerprint not in (plain.fingerprint, plain.whitened(0.2).fingerprint)
    assert whitened.fingerprint == plain.whitened(RATE).fingerprint
    assert whitened.whitening.images_sha256 == plain.fingerprint
    with pytest.raises(DataError, match="cannot be normalized otherwise"):
        whitened.renormalized([0.5], [0.5])
    with pytest.raises(RecipeError, match="whitening"):
        runs.recipe(task={"name": "digits", "whitening": 0.0})


def test_large_images_are_refused_before_their_matrix_is_made():
    with pytest.raises(DataError, match="ZCA of images of 16,384 values"):
        TaskSpec(name="digits", size=128, whitening=RATE).load()


def test_a_set_of_whitened_images_is_judged_by_whitened_images(plain, tmp_path):
    recipe = runs.recipe(
        task={"name": "digits", "whitening": RATE},
        source={"kind": "pixels"},
        optimizers={"pixels": {"learning_rate": 0.01}},
        steps=1,
    )
    made = artifact.read(distill.run(recipe, out=tmp_path / "run", executor="inline"))
    made.check_golden()
    assert made.manifest.content.image.whitening.regularization == RATE
    tiny = Protocol(
        name="tiny",
        version=1,
        network=nets.NetworkSpec(width=4),
        networks=1,
        steps=2,
        batch=16,
        learning_rates=(0.05,),
        augment="none",
    )
    how = {"protocol": tiny, "split": "validation", "baselines": []}
    d3data.evaluate(made, **how)
    with pytest.raises(DataError, match=r"are whitened \(ZCA, 0\.1, .* are not whitened"):
        d3data.evaluate(made, plain, **how)
    with pytest.raises(DataError, match=r"whitened \(ZCA, 0\.1, .* whitened \(ZCA, 0\.2"):
        d3data.evaluate(made, plain.whitened(0.2), **how)
