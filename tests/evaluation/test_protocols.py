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
        {"name": "x", "version": 1, "width": 4, "batch": 4, "learning_rate": 0.1}
        | {"augment": "none"}
        | more
    )


def test_a_protocol_is_found_by_its_own_name():
    assert all(named(name).name == name for name in protocols)
    assert all(protocol.augment in augmentations for protocol in protocols.values())
    with pytest.raises(RecipeError, match="did you mean standard"):
        named("standart")


@pytest.mark.parametrize(("draws", "steps"), [(3, 5), (4, 5), (5, 10), (20, 25)])
def test_an_epoch_takes_as_many_steps_as_it_fills_batches(draws, steps):
    assert Protocol(**settings(epochs=5)).length(draws) == steps
    assert Protocol(**settings(steps=7)).length(draws) == 7


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
    ("quick", 1): "1b6ae2cc52ba626375656dc57b019f24563988c1d65388fadcc220731513fbab",
    ("standard", 1): "4c0d56d3b992192ed2f05304748095826b444868957f7e845fb88ccc74bd00c2",
    ("field", 1): "f953f40e9a0f03e97d2469c264a8b7e644b11480dd9319f624d31cf6c55cdfce",
    ("dc", 1): "d23cfd062b12779800bfd20e6332c0e794ea17ff9c06edade13af9568e6eb295",
    ("dsa", 1): "6880f0fb994f7815df873671c42214e624ef2ba817371a0ed02d34efe27c4f1a",
}


@pytest.mark.parametrize("name", protocols)
def test_what_was_published_never_changes(name):
    """Whoever changes a setting raises the version and adds a line here; no line is edited."""
    protocol = protocols[name]
    text = json.dumps(protocol.dump(), sort_keys=True)
    assert PUBLISHED[name, protocol.version] == hashlib.sha256(text.encode()).hexdigest()
