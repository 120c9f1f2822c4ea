"""Protocols: what their settings mean, their epochs and mixing; published ones never change."""

import dataclasses
import functools
import hashlib
import json

import pytest
import torch
from pydantic import ValidationError

import reports
import tiny_runs as runs
from d3data import nets
from d3data.data.dataset import DistilledDataset
from d3data.data.load import load
from d3data.errors import DataError, RecipeError
from d3data.evaluation import evaluate, trial_training
from d3data.evaluation import protocols as published
from d3data.evaluation.baselines import Photographs
from d3data.evaluation.mixing import mixed
from d3data.evaluation.protocol_epochs import MeansAndDraws, trained_on
from d3data.evaluation.protocols import Protocol, batches, get_protocol, halfway, protocols
from d3data.hub.index import ZOO
from d3data.images.augment import augmentations
from d3data.images.tasks import TaskSpec
from d3data.utils.rng import generator

CPU = torch.device("cpu")
LABELS = torch.tensor([0, 2, 1, 2])
IMAGES = LABELS[:, None, None, None].float().expand(4, 1, 8, 8).clone()  # each says its class


def settings(**more):
    usual = {"name": "x", "version": 1, "batch": 4, "learning_rates": (0.1,), "augment": "none"}
    return usual | more


def test_a_protocol_is_found_by_its_own_name():
    assert all(get_protocol(name).name == name for name in protocols)
    assert all(protocol.augment in augmentations for protocol in protocols.values())
    with pytest.raises(RecipeError, match="did you mean standard"):
        get_protocol("standart")


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


def test_halfway_falls_to_a_tenth_once_and_cosine_ends_near_zero():
    assert [halfway(step, 5) for step in range(5)] == [1, 1, 1, 0.1, 0.1]
    assert [halfway(step, 4) for step in range(4)] == [1, 1, 0.1, 0.1]
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
    first, second = taken(32, 2, batch=32, steps=2)
    assert [index for _, index in first] != [index for _, index in second]


PUBLISHED = {
    ("quick", 1): "211616624383b925b563a8adf6b7941b12d517f4e30bcddf776aa7123d00187d",
    ("standard", 1): "8e4d79039ba3158d38e3d7d3abeb64c941e0f30da870779724042c475547bbed",
    ("field", 1): "172a122661dc1f19ee1cd70a5e2289f0e2069ba908122b9f4b38f29e7e92d426",
    ("field", 2): "8ef31a7e7058d2e64e6d5f04c1bd4a103878705be9a419a89a512f371f50f3d9",
    ("dc", 1): "ec121cf216c56c1f38b2f61b8c007d8f8edaf65226efeab9211bd874c282d07f",
    ("dc-mnist", 1): "d29d9c8d4b5f0c2b2d026f7a9a575a9ddd9ed50550c54dfec77b1c784362be5a",
    ("dc-batchnorm", 1): "716270c22d59965aedba6012e52f5bfc5105f8f5f1248d70b4b63163dc407715",
    ("dsa", 1): "662f7bd27d46e504e57a0a23ede0ef65b0a27fc35e1a491915bc9e7f87376e0c",
    ("d3", 1): "67e8ef162a33d0de28b7c38e6b664a8e91e6262da0dc0f661b23204bfa6ad598",
    ("dd-ranking", 1): "0f695c56a0b78728a4cb025a7c7772933bb6e70e2658ee240d433459509572d3",
    ("mtt", 1): "f31a0e713ae6551bb907aa89422e820ceec053d599230c4f6538d2e7dbfce4d0",
    ("d3", 2): "e7326d59093ba76de907a02f504dee5dcdeb7ef8c29df0d2657cef3897bd01ed",
    ("dd-ranking", 2): "2f0c390c705f320c3e7a2a0ab6cfd77fe6a3fd7624fa6b20bc79b5f887f66513",
    ("frepo", 1): "1e17a100899681625b19281ae9c627219864ce9779397bd7874e054949320004",
    ("frepo-ipc10", 1): "1601686d11b001e4cf0f72245adbf0cb0cb4695b5951722a81e68cfe8ec10d17",
    ("frepo-grey", 1): "42856abccbb437769788e0f019e531f8b3535fcdf306a2a6f1961f5fedca77f4",
    ("frepo-grey-ipc10", 1): "6e4c07a0bd769782d5f4680fa94093e2fdc0e4e00fa1c24c1aeb36733ab57726",
    ("glad", 1): "9b816f12c20199a8bed96808962b97698d9b0ed57d835bb45fb385f6ec22baa1",
    ("dd-ranking", 3): "8399d76be86694ba2054ffe6334b8a3302014d8198e86b90ae431bfd962b2ff9",
    ("transfer", 1): "d62cb9c165b0ecff5a7521b88ba00c367b7ebea092a4a51cb9a46a1556fb576c",
}


def digest(protocol):
    return hashlib.sha256(json.dumps(protocol.dump(), sort_keys=True).encode()).hexdigest()


def test_an_old_version_is_still_what_it_was():
    assert digest(reports.FIELD_1) == PUBLISHED["field", 1]


@pytest.mark.parametrize("name", protocols)
def test_what_was_published_never_changes(name):
    """Whoever changes a setting raises the version and adds a line here; no line is edited."""
    protocol = protocols[name]
    assert PUBLISHED[name, protocol.version] == digest(protocol)


def test_a_protocol_is_not_called_like_a_published_one_that_it_is_not():
    published.require_own_name(Protocol(**settings(steps=1)))
    published.require_own_name(get_protocol("quick"))
    with pytest.raises(RecipeError, match="other settings than quick v1"):
        published.require_own_name(get_protocol("quick").model_copy(update={"steps": 60}))


def test_an_epoch_of_d3_is_every_mean_and_a_draw_of_every_prior(priors):
    """18 priors, at most 4 of a class; labels are soft."""
    data = DistilledDataset(priors.artifact)
    epochs, everything = trained_on(data, protocols["d3"]), torch.arange(18 + 40)
    assert len(epochs) == len(everything)
    images, labels = epochs.batch(4, everything, device=CPU)
    again, _ = epochs.batch(5, everything, device=CPU)
    means = data.drawer.decode(data.drawer.mean_latents(range(18)), residual=False)
    torch.testing.assert_close(images[:18], means)
    assert torch.equal(images[:18], again[:18])
    assert (images[18:] - again[18:]).abs().amax((1, 2, 3)).min() > 0
    drawn = DistilledDataset(data.artifact, draws_per_class=4)
    expected, of = drawn.batch(4, range(40))
    torch.testing.assert_close(images[18:], expected)
    assert torch.equal(labels[18:], of)
    for some in (everything.flip(0), everything[:1], everything[-2:]):  # a mean, or draws, alone
        torch.testing.assert_close(epochs.batch(4, some, device=CPU)[0], images[some])


def test_a_set_with_a_residual_is_trained_on_as_d3_does(priors, digits, tiny):
    """A batch of one mean, which has no draw beside it, is read before anything is trained."""
    protocol = tiny.model_copy(update={"draws": "means", "steps": 1})
    row = evaluate(priors, digits, protocol=protocol, seeds=[0], baselines=()).rows[0]
    assert (row.draws, row.trials[0].images) == (18 + 40, 16)


@pytest.mark.parametrize(
    ("name", "soft", "images"),
    [("dc", True, 40), ("d3", True, 18 + 40), ("d3", False, 40), ("quick", True, 90)],
)
def test_an_epoch_of_a_set_is_that_of_the_protocol(priors, name, soft, images):
    """An epoch of its own has 9 draws of each class; D3 has means where labels are soft."""
    own = DistilledDataset(priors.artifact, draws_per_class=9, soft_labels=soft)
    data = trained_on(own, protocols[name])
    assert len(data) == images
    assert isinstance(data, MeansAndDraws) == (images == 18 + 40)


def test_a_set_is_trained_on_at_its_own_rate_and_real_images_at_the_protocols(digits, tiny):
    own = load("digits-ipc4")
    (source,) = own.artifact.sources()
    protocol = tiny.model_copy(update={"own_rate": True, "steps": 1})
    rows = evaluate(own, digits, protocol=protocol, seeds=[0], baselines=["random"]).rows
    assert source.step_size.item() != tiny.rate
    rates = [row.trials[0].learning_rate for row in rows]
    assert rates == [pytest.approx(source.step_size.item()), tiny.rate]
    real = Photographs(torch.zeros(2, 1, 8, 8), torch.arange(2))
    with pytest.raises(DataError, match="has no learning rate of its own"):
        evaluate(real, digits, protocol=protocol, seeds=[0], baselines=())


def test_a_protocol_may_say_how_many_draws_of_each_class_an_epoch_has(priors, tiny):
    protocol = tiny.model_copy(update={"steps": None, "epochs": 2, "draws": 7})
    data = trained_on(priors, protocol)
    assert protocol.length(len(data)) == 2 * 5
    own = DistilledDataset(priors.artifact, draws_per_class=7)
    images = data.batch(1, torch.arange(70), device=CPU)[0]
    assert torch.equal(images, own.batch(1, range(70))[0])
    still = Photographs(torch.zeros(2, 1, 8, 8), torch.arange(2))  # it keeps its epochs
    assert trained_on(still, protocols["d3"]) is still


def mix(name, labels=LABELS, key="a"):
    return mixed(name, IMAGES, labels, classes=3, rng=generator(0, key))


@pytest.mark.parametrize("name", ["cutmix", "mixup"])
def test_labels_are_the_shares_of_the_pixels(name):
    assert all(a is b for a, b in zip(mix("none"), (IMAGES, LABELS), strict=True))
    for key in "abcdef":
        images, labels = mix(name, key=key)
        assert labels.shape == (4, 3)
        torch.testing.assert_close(labels.sum(1), torch.ones(4))
        expected = (labels * torch.arange(3.0)).sum(1)
        torch.testing.assert_close(images.mean((1, 2, 3)), expected)


@pytest.mark.parametrize("name", ["cutmix", "mixup"])
def test_mixing_repeats_and_leaves_the_global_generator_alone(name):
    before = torch.get_rng_state()
    one, same, other = mix(name), mix(name), mix(name, key="b")
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one[0], same[0])
    assert not torch.equal(one[0], other[0])


def test_half_of_the_batches_are_mixed():
    changed = 0
    for key in range(200):
        images, labels = mix("cutmix-half", key=str(key))
        assert (labels is LABELS) == (images is IMAGES)
        changed += images is not IMAGES
    assert 70 < changed < 130


def test_soft_labels_are_mixed_too():
    soft = torch.eye(3)[LABELS]
    for got, expected in zip(mix("mixup", soft), mix("mixup"), strict=True):
        torch.testing.assert_close(got, expected)


SETS = sorted(path.name for path in ZOO.iterdir())
# every set by some protocol, and every protocol by some set
PAIRS = [
    (name, protocol)
    for row, name in enumerate(SETS)
    for column, protocol in enumerate(protocols)
    if runs.soaking() or (column - row) % len(SETS) == 0
]


@pytest.mark.parametrize(("name", "protocol"), PAIRS)
def test_every_shipped_set_can_be_evaluated_by_every_protocol(name, protocol, monkeypatch):
    """One network, two steps, black images in the place of real ones."""
    monkeypatch.setattr(Protocol, "length", lambda protocol, draws: 2)
    monkeypatch.setattr(trial_training, "MOST_VALIDATED", 10)
    data = load(name, output="normalized")
    black = TaskSpec(name=data.artifact.manifest.about.provenance.task).load(imagine=True)
    few = black.test.of([0])
    task = dataclasses.replace(black, classes=tuple(data.classes), test=few)
    tiny = functools.partial(nets.build, nets.NetworkSpec(width=4))
    options = {"seeds": [0], "baselines": "none", "networks": {"tiny": tiny}, "resume": False}
    (row,) = evaluate(data, task, protocol=protocol, **options).rows
    assert row.trials[0].steps == 2


@pytest.mark.parametrize(
    ("name", "steps", "factors"),
    [
        ("glad", 8, [0.25, 0.5, 0.75, 1.0, 1.0, 0.8536, 0.5, 0.1464]),
        ("frepo", 4, [0.5, 1.0, 1.0, 0.505]),
        ("frepo-ipc10", 8, [0.5, 1.0, 1.0, 0.9337, 0.7525, 0.505, 0.2575, 0.0763]),
    ],
)
def test_rates_rise_before_they_fall(name, steps, factors):
    found = [protocols[name].factor(step, steps) for step in range(steps)]
    assert found == pytest.approx(factors, abs=1e-4)


def test_frepo_takes_one_step_an_epoch_and_as_many_as_published():
    assert protocols["frepo"].length(10) == 1000
    assert protocols["frepo-ipc10"].length(100) == 2000


def test_all_real_images_are_trained_on_for_the_epochs_of_the_protocol():
    assert protocols["dsa"].length_on_real(50_000, 300) == 300
    assert protocols["dd-ranking"].length_on_real(50_000, 300) == 200 * 391


@pytest.mark.parametrize(("draws", "steps"), [(128, 10), (129, 10), (130, 20), (257, 20)])
def test_epochs_of_real_images_are_as_long_as_those_of_a_set(draws, steps):
    protocol = Protocol(**settings(batch=128, epochs=10, real_epochs=10))
    assert protocol.length_on_real(draws, 300) == protocol.length(draws) == steps


def test_a_floor_is_that_of_a_cosine():
    with pytest.raises(ValueError, match="floor is for schedule"):
        Protocol(**settings(steps=1, floor=0.1, schedule="halfway"))
