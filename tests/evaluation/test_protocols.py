"""Protocols: what their settings mean, and that published ones never change."""

import hashlib
import json

import pytest
import torch
from pydantic import ValidationError

from d3data.augment import augmentations
from d3data.errors import RecipeError
from d3data.evaluation.protocols import Protocol, halfway, named, protocols


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


PUBLISHED = {
    ("quick", 1): "3375ce4ab46ecbbdf5a5ba94d687d326d45b19d1457325d1cec77059733d90ad",
    ("standard", 1): "605bc1d7a6d062cad4487d450842d050bff6b60a414d8111db29dcc98bda08f2",
    ("field", 1): "10ec3b73dc7f2a4e9e3d13a714a9278f9ef984001386e731175aa692b9964c3a",
    ("dc", 1): "5ce8bc3fd39fdbd7a530943d1f7eb1cc1dd4484ee789c591876ee421f121f929",
    ("dsa", 1): "ac3e148d420ef0e32ba87480c75fb050fdbf93ae4cbf783c3ca6b4de987c9b89",
    ("d3", 1): "22f14696bd7d5b2b14bd61f640564ae42059480667fd6b7535416aafc1f65802",
    ("dd-ranking", 1): "5b47164dc58f3eac2e3e407e154dd07e36ee55816a322ed146138e13d38f2085",
    ("transfer", 1): "a579117ce8f4b41b3a32a9e34ac77ae4e12dea5f300f8967f34e4f3ea471702d",
}


@pytest.mark.parametrize("name", protocols)
def test_what_was_published_never_changes(name):
    """Whoever changes a setting raises the version and adds a line here; no line is edited."""
    protocol = protocols[name]
    text = json.dumps(protocol.dump(), sort_keys=True)
    assert PUBLISHED[name, protocol.version] == hashlib.sha256(text.encode()).hexdigest()
