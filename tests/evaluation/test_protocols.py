"""Protocols: what their settings mean, and that published ones never change."""

import hashlib
import json

import pytest
import torch
from pydantic import ValidationError

from d3data.errors import RecipeError
from d3data.evaluation.protocols import (
    Protocol,
    batches,
    halfway,
    named,
    protocols,
    require_own_name,
)
from d3data.images.augment import augmentations
from d3data.utils.rng import generator


def settings(**more):
    return (
        {"name": "x", "version": 1, "batch": 4, "learning_rates": (0.1,)}
        | {"augment": "none"}
        | more
    )


def test_a_protocol_is_found_by_its_own_name():
    assert all(named(name).name == name for name in protocols)
    assert all(protocol.augment in augmentations for protocol in protocols.values())
    with pytest.raises(RecipeError, match="did you mean standard"):
        named("standart")


@pytest.mark.parametrize(("draws", "steps"), [(1, 5), (3, 5), (4, 5), (5, 5), (6, 10), (20, 25)])
def test_an_epoch_takes_as_many_steps_as_it_fills_batches(draws, steps):
    assert Protocol(**settings(epochs=5)).length(draws) == steps
    assert Protocol(**settings(steps=7)).length(draws) == 7


@pytest.mark.parametrize(("rates", "middle"), [((3.0,), 3), ((3.0, 1.0), 1), ((2.0, 3.0, 1.0), 2)])
def test_where_no_rate_is_chosen_it_is_the_middle_one(rates, middle):
    assert Protocol(**settings(steps=1, learning_rates=rates)).rate == middle


@pytest.mark.parametrize("wrong", [{}, {"steps": 1, "epochs": 1}])
def test_it_says_either_steps_or_epochs(wrong):
    with pytest.raises(ValidationError, match="either steps or epochs"):
        Protocol(**settings(**wrong))


def test_halfway_falls_to_a_tenth_once():
    assert [halfway(step, 5) for step in range(5)] == [1, 1, 1, 0.1, 0.1]
    assert [halfway(step, 4) for step in range(4)] == [1, 1, 0.1, 0.1]


def test_cosine_ends_near_zero():
    protocol = Protocol(**settings(steps=100))
    factors = torch.tensor([protocol.factor(step, 100) for step in range(100)])
    assert factors[0] == 1
    assert 0 < factors[-1] < 1e-3
    assert (factors.diff() < 0).all()


def taken(draws, count, **length):
    """The (epoch, index) pairs of the first `count` batches."""
    stream = batches(draws, Protocol(**settings(**length)), rng=generator(0, "order"))
    return [
        [(epoch, index) for epoch, indices in pieces for index in indices.tolist()]
        for pieces, _ in zip(stream, range(count), strict=False)
    ]


@pytest.mark.parametrize("draws", [3, 16, 37])
def test_steps_fill_every_batch_from_whole_epochs(draws):
    steps = taken(draws, 37, batch=16, steps=37)
    assert {len(step) for step in steps} == {16}
    pairs = [pair for step in steps for pair in step]
    for epoch in range(len(pairs) // draws):
        mine = pairs[epoch * draws : (epoch + 1) * draws]
        assert sorted(mine) == [(epoch, index) for index in range(draws)]


@pytest.mark.parametrize(
    ("draws", "batch", "sizes"),
    [(10, 4, [4, 4, 2, 4, 4, 2]), (9, 4, [4, 5, 4, 5]), (3, 1, [1] * 6)],
)
def test_epochs_end_with_a_smaller_batch_but_not_with_a_single_draw(draws, batch, sizes):
    steps = taken(draws, len(sizes), batch=batch, epochs=2)
    assert [len(step) for step in steps] == sizes
    assert Protocol(**settings(batch=batch, epochs=2)).length(draws) == len(sizes)
    pairs = [pair for step in steps for pair in step]
    assert sorted(pairs) == [(epoch, index) for epoch in (0, 1) for index in range(draws)]


def test_every_epoch_has_its_own_order():
    first, second = taken(32, 2, batch=32, steps=2)
    assert [index for _, index in first] != [index for _, index in second]


PUBLISHED = {
    ("quick", 1): "211616624383b925b563a8adf6b7941b12d517f4e30bcddf776aa7123d00187d",
    ("standard", 1): "8e4d79039ba3158d38e3d7d3abeb64c941e0f30da870779724042c475547bbed",
    ("field", 1): "172a122661dc1f19ee1cd70a5e2289f0e2069ba908122b9f4b38f29e7e92d426",
    ("dc", 1): "ec121cf216c56c1f38b2f61b8c007d8f8edaf65226efeab9211bd874c282d07f",
    ("dsa", 1): "662f7bd27d46e504e57a0a23ede0ef65b0a27fc35e1a491915bc9e7f87376e0c",
    ("d3", 1): "67e8ef162a33d0de28b7c38e6b664a8e91e6262da0dc0f661b23204bfa6ad598",
    ("dd-ranking", 1): "0f695c56a0b78728a4cb025a7c7772933bb6e70e2658ee240d433459509572d3",
    ("transfer", 1): "d62cb9c165b0ecff5a7521b88ba00c367b7ebea092a4a51cb9a46a1556fb576c",
}


@pytest.mark.parametrize("name", protocols)
def test_what_was_published_never_changes(name):
    """Whoever changes a setting raises the version and adds a line here; no line is edited."""
    protocol = protocols[name]
    text = json.dumps(protocol.dump(), sort_keys=True)
    assert PUBLISHED[name, protocol.version] == hashlib.sha256(text.encode()).hexdigest()


def test_a_protocol_is_not_called_like_a_published_one_that_it_is_not():
    require_own_name(Protocol(**settings(steps=1)))
    require_own_name(named("quick"))
    with pytest.raises(RecipeError, match="other settings than quick v1"):
        require_own_name(named("quick").model_copy(update={"steps": 60}))
