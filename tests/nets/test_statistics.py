"""Running statistics of norms: when training was too short for them, and their new values."""

import pytest
import torch
from torch import nn

from d3data.nets.statistics import RunningStatistics
from d3data.utils.rng import generator, seeded


def images(count=40):
    return 2 + 3 * torch.randn(count, 3, 6, 6, generator=generator(0, "images"))


def network(momentum=0.1, **options):
    with seeded(0, "network"):
        norm = nn.BatchNorm2d(4, momentum=momentum, **options)
        return nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Dropout(), nn.Conv2d(4, 2, 3))


def trained(steps, momentum=0.1, before=None):
    made = network(momentum)
    if before:
        before(made)
    statistics = RunningStatistics(made)
    for _ in range(steps):
        made(images(8))
    return made, statistics


@pytest.mark.parametrize(
    ("momentum", "steps", "late"),
    [(0.1, 60, False), (0.1, 10, True), (0.01, 60, True), (0.01, 500, False), (0.0003, 60, True),
     (None, 5, False), (0.0, 60, True)],
)  # fmt: skip
def test_a_norm_is_late_by_what_its_momentum_leaves_of_the_start(momentum, steps, late):
    _, statistics = trained(min(steps, 3), momentum)
    for norm in statistics.norms:
        norm.num_batches_tracked.fill_(steps)
    assert bool(statistics.unsettled(steps)) == late


def test_a_tiny_variance_is_outweighed_by_a_small_rest_of_the_start():
    made = network()
    nn.init.normal_(made[0].weight, std=1e-4)
    statistics = RunningStatistics(made)
    for _ in range(60):  # 0.2 % of the variance of 1
        made(images(8))
    assert statistics.unsettled(60) == [made[1]]


def test_norms_that_were_frozen_keep_what_they_have():
    made, statistics = trained(3, before=lambda net: net[1].eval())
    assert statistics.norms == [made[1]]
    assert statistics.unsettled(3) == []


def test_instance_norms_with_statistics_count_too():
    norm = nn.InstanceNorm2d(3, momentum=0.01, track_running_stats=True)
    statistics = RunningStatistics(norm)
    assert statistics.unsettled(60) == [norm]
    statistics.estimate([norm], [images()])
    assert torch.allclose(norm.running_mean, images().mean((0, 2, 3)), atol=1e-5)


def test_new_statistics_are_averages_over_batches_and_nothing_is_drawn():
    made, statistics = trained(2, 0.01)
    state, pieces = torch.random.get_rng_state(), images().split(10)
    statistics.estimate(statistics.norms, pieces)
    assert torch.equal(torch.random.get_rng_state(), state)
    maps = [made[0](piece).detach() for piece in pieces]
    for name, of in (("running_mean", torch.mean), ("running_var", torch.var)):
        expected = torch.stack([of(x, (0, 2, 3)) for x in maps]).mean(0)
        assert torch.allclose(getattr(made[1], name), expected, atol=1e-5)
    assert made[1].momentum == 0.01
    assert not any(layer.training for layer in made.modules())


def test_statistics_come_back():
    made, statistics = trained(2, 0.01)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    with statistics.restored():
        statistics.estimate(statistics.norms, [images()])
        assert not torch.equal(made[1].running_mean, before["1.running_mean"])
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
