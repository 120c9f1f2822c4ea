"""The ConvNet: its depth, its features by hand, gradients of gradients."""

import pytest
import torch
from torch.func import functional_call

from d3data import nets
from d3data.nets.norms import NAMES as norms
from d3data.utils.rng import generator, seeded


@pytest.mark.parametrize(
    ("size", "depth"),
    [(8, 2), (16, 2), (28, 3), (32, 3), (64, 4), (96, 5), (128, 5), (224, 5), (256, 5), (512, 5)],
)
def test_default_depth(size, depth):
    assert nets.default_depth(size) == depth
    assert size >> depth >= 2


def test_the_features_are_what_the_algorithm_says():
    with seeded(0, "network"):
        network = nets.build(channels=3, size=8, classes=2, width=4).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=generator(0, "images"))
    expected = images
    for block in range(2):
        convolution, norm = network.body[4 * block], network.body[4 * block + 1]
        expected = torch.nn.functional.conv2d(
            expected, convolution.weight, convolution.bias, padding=1
        )
        mean = expected.mean((2, 3), keepdim=True)
        variance = (expected - mean).square().mean((2, 3), keepdim=True)
        expected = (expected - mean) / (variance + 1e-5).sqrt()
        expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
        expected = expected.clamp(min=0).unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5))
    torch.testing.assert_close(network.features(images), expected.flatten(1))


def test_28_pixels_are_seen_as_in_the_field():
    """Where the first convolution has padding 3, and pooling then ends at 4 x 4."""
    network = nets.build("convnet", channels=1, size=28, classes=10, seed=0)
    assert sum(p.numel() for p in network.parameters()) == 317_706
    images = torch.randn(2, 1, 28, 28, generator=generator(0, "images"))
    first, *others = [one for one in network.body if not isinstance(one, torch.nn.ZeroPad2d)]
    seen = torch.nn.functional.conv2d(images, first.weight, first.bias, padding=3)
    expected = network.classifier(torch.nn.Sequential(*others)(seen))
    torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("norm", norms)
def test_gradients_of_gradients_agree_with_finite_differences(norm):
    with seeded(0, "network"):
        network = nets.build(channels=1, size=8, classes=2, width=4, norm=norm).double()
    start = {name: p.detach() for name, p in network.named_parameters()}
    images = torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=generator(0, "images"))
    labels = torch.tensor([0, 1, 0])

    def after_a_step(images):
        parameters = {name: p.clone().requires_grad_() for name, p in start.items()}
        logits = functional_call(network, parameters, (images,))
        loss = torch.nn.functional.cross_entropy(logits, labels)
        return torch.autograd.grad(loss, parameters["body.0.weight"], create_graph=True)[0]

    assert torch.autograd.gradcheck(after_a_step, images.requires_grad_())
