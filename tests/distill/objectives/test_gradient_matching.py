"""Gradient matching against a naive reference in float64."""

import math

import pytest
import torch
from torch.nn import functional as F

import toys
from d3data.distill.objectives import GradientMatching
from d3data.distill.objectives.gradient_matching import distance
from d3data.distill.pupil import Pupil
from d3data.images.augment import augmentation


def naive_distance(one, other):
    """Zhao et al. 2021, Eq. 10, unit by unit."""
    total = 0.0
    for a, b in zip(one.flatten(1).tolist(), other.flatten(1).tolist(), strict=True):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        total += 1 - dot / (math.hypot(*a) * math.hypot(*b) + 1e-6)
    return total


def test_the_distance_is_that_of_output_units():
    one, other = torch.randn(2, 4, 3, 2, 2, dtype=torch.float64)
    assert distance(one, other).item() == pytest.approx(naive_distance(one, other), rel=1e-12)
    assert distance(one, 5 * one).item() == pytest.approx(0, abs=1e-5)
    assert distance(one[:, 0, 0, 0], other[:, 0, 0, 0]) == 0


def gradients(network, images, label):
    labels = torch.full((len(images),), label)
    return torch.autograd.grad(
        F.cross_entropy(network(images.double()), labels), list(network.parameters())
    )


@pytest.mark.parametrize("augment", ["none", "siamese-noflip"])
def test_a_loss_is_the_distance_of_gradients_class_by_class(augment):
    objective = GradientMatching(network=toys.NETWORK, real=7, augment=augment)
    source, context = toys.source("pixels"), toys.context(None, steps=1)
    loss = next(objective.losses(source, context))
    rng, change = context.rng("dc", 0), augmentation(augment)
    seed = int(torch.randint(2**62, (), generator=rng))
    network = toys.NETWORK.build(toys.task(), seed).double()
    expected = 0.0
    for label in range(3):
        drawn = change.draw(1, rng, shared=True)
        real, _ = toys.task().train.batch(7, of=label, rng=rng)
        items = (source.classes == label).nonzero().flatten()
        pairs = zip(
            gradients(network, change.apply(source.pixels.detach()[items], drawn), label),
            gradients(network, change.apply(real, drawn), label),
            strict=True,
        )
        expected += sum(naive_distance(one, other) for one, other in pairs if one.dim() > 1)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_a_network_is_trained_between_outer_steps_on_what_the_images_are_now():
    objective = GradientMatching(
        network=toys.NETWORK, outer=2, inner=3, real=4, batch=4, learning_rate=0.1
    )
    source, context = toys.source("pixels"), toys.context(None, steps=3)
    stream = objective.losses(source, context)
    next(stream)
    pupil = context.kept["pupil"]
    network = toys.NETWORK.build(toys.task(), 0).double()
    network.load_state_dict(pupil.network.state_dict())
    source.pixels.data += 0.1
    next(stream)
    rng = context.rng("dc", 1)
    for _ in range(3):
        for items in torch.randperm(len(source.classes), generator=rng).split(4):
            loss = F.cross_entropy(network(source.pixels[items].double()), source.classes[items])
            for one, slope in zip(
                network.parameters(),
                torch.autograd.grad(loss, list(network.parameters())),
                strict=True,
            ):
                one.data.sub_(0.1 * slope)
    assert pupil.age == 3 * 3  # 10 items in batches of 4
    for one, other in zip(pupil.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)
    next(stream)
    assert pupil.age == 0
    assert source.pixels.grad is None


def test_a_pupil_begins_anew_without_a_trace_of_what_it_was():
    context = toys.context(None, steps=1)
    pupil = Pupil(toys.NETWORK, context, lambda parameters: torch.optim.Adam(parameters, lr=0.1))
    images, labels = toys.task().train.batch(8, rng=torch.Generator().manual_seed(0))

    def trained():
        pupil.renew(torch.Generator().manual_seed(1))
        for _ in range(2):
            pupil.step(F.cross_entropy(pupil.network(images), labels))
        return {name: tensor.clone() for name, tensor in pupil.network.state_dict().items()}

    first, again = trained(), trained()
    assert all(torch.equal(first[name], again[name]) for name in first)
