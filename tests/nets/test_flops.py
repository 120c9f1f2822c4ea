"""Floating-point operations: by hand, by torch's own counter on real tensors, nothing changed."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from d3data import nets
from d3data.utils.rng import generator

NARROW = {name: {"width": 64 if "vit" in name else 8} for name in nets.list_networks()} | {
    "alexnet": {"width": 16},
    "lenet": {},
}


def test_the_mlp_by_hand():
    network = nets.build("mlp", channels=3, size=32, classes=10, width=100, depth=2)
    first, second, last = 2 * 3072 * 100, 2 * 100 * 100, 2 * 100 * 10
    forward = first + second + last
    # backward: the gradient of each weight, and of all inputs but the image
    training = forward + forward + second + last
    assert nets.count_flops(network, (3, 32, 32)) == nets.Flops(forward, training)
    normed = nets.build("mlp", channels=3, size=32, classes=10, width=100, norm="batch")
    assert nets.count_flops(normed, (3, 32, 32)) == nets.Flops(forward, training)


def test_the_convnet_by_hand():
    network = nets.build(channels=3, size=32, classes=10, seed=0)
    first = 2 * 32 * 32 * 9 * 3 * 128
    others = 2 * 16 * 16 * 9 * 128 * 128 + 2 * 8 * 8 * 9 * 128 * 128 + 2 * 128 * 4 * 4 * 10
    expected = nets.Flops(first + others, 2 * first + 3 * others)
    assert nets.count_flops(network, (3, 32, 32)) == expected


def test_attention_by_hand():
    one, two = (
        nets.build("vit-tiny", channels=1, size=16, classes=3, width=128, depth=depth, seed=0)
        for depth in (1, 2)
    )
    t, d = 8 * 8 + 1, 128
    layer = 2 * t * d * (3 * d + d + 4 * d + 4 * d) + 2 * 2 * t * t * d
    counts = [nets.count_flops(network, (1, 16, 16)) for network in (one, two)]
    assert counts[1].forward - counts[0].forward == layer
    assert counts[1].training - counts[0].training == 3 * layer


@pytest.mark.parametrize("name", nets.list_networks())
def test_torchs_own_counter_agrees_on_real_tensors(name):
    network = nets.build(name, channels=3, size=16, classes=5, seed=0, **NARROW[name])
    images = torch.randn(2, 3, 16, 16, generator=generator(0, "images"))
    with FlopCounterMode(display=False) as counter:
        logits = network(images)
        forward = counter.get_total_flops()
        logits.sum().backward()
    training = counter.get_total_flops()
    assert nets.count_flops(network, (3, 16, 16)) == nets.Flops(forward // 2, training // 2)


def test_grouped_and_transposed_convolutions_by_hand():
    network = nn.Sequential(
        nn.Conv2d(4, 8, 1, bias=False),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
        nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1, groups=2),
    )
    first, grouped = 2 * 64 * 4 * 8, 2 * 64 * 9 * 8 * 2
    transposed = 2 * 64 * 16 * 8 * 3
    expected = nets.Flops(first + grouped + transposed, 2 * first + 3 * grouped + 3 * transposed)
    assert nets.count_flops(network, (4, 8, 8)) == expected


def test_counting_changes_nothing_and_counts_frozen_parameters():
    network = nets.build(channels=3, size=8, classes=2, width=8, norm="batch", seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    generator_before = torch.get_rng_state()
    trained = nets.count_flops(network, (3, 8, 8))
    assert nets.count_flops(network.requires_grad_(False), (3, 8, 8)) == trained
    assert torch.equal(generator_before, torch.get_rng_state())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in network.parameters())
