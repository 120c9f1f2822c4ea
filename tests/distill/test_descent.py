"""Gradients through many steps of descent are those of the graph of all steps."""

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn import functional as F

from d3data.distill.descent import descended
from d3data.errors import TrainingError
from d3data.nets import convnet
from d3data.nets.compute import Compute
from d3data.nets.network import FlatNetwork, Network

STEPS = 5


def small():
    return convnet.convnet(channels=1, size=8, classes=3, width=4).double()


@pytest.fixture
def setting():
    torch.manual_seed(0)
    network = FlatNetwork(small())
    images = torch.randn(6, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    labels = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    rates = torch.rand(STEPS, dtype=torch.float64, requires_grad=True)
    start = network.start.requires_grad_()

    def lesson(step, inputs):
        rows = [step % 3, step % 3 + 3]
        return inputs[0][rows], inputs[1][rows].softmax(1)

    return (network, lesson), start, (images, labels), rates


def naive(network, lesson, theta, inputs, rates, momentum):
    """Every step a node of one graph."""
    speed = torch.zeros_like(theta)
    for step in range(len(rates)):
        images, goal = lesson(step, inputs)
        loss = F.cross_entropy(network(theta, images), goal)
        (slope,) = torch.autograd.grad(loss, theta, create_graph=True)
        speed = momentum * speed + slope
        theta = theta - rates[step] * speed
    return theta


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("stored", [False, True])
def test_gradients_are_exact(setting, momentum, stored):
    learning, start, inputs, rates = setting
    reached = (*inputs, rates, start)
    expected = naive(*learning, start, inputs, rates, momentum)
    found = descended(*learning, start, inputs, rates=rates, momentum=momentum, stored=stored)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    weights = torch.randn_like(start)
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), reached),
        torch.autograd.grad((expected * weights).sum(), reached),
        strict=True,
    ):
        assert other.abs().max() > 1e-6
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_compiled_passes_have_the_same_gradients_and_are_compiled_once(setting):
    (network, lesson), start, inputs, rates = setting
    reached = (*inputs, rates, start)
    end = naive(network, lesson, start, inputs, rates, 0.9)
    expected = torch.autograd.grad(end.sum(), reached)
    torch.compiler.reset()
    counters.clear()
    for alike in (network, FlatNetwork(small())):
        how = {"momentum": 0.9, "compute": Compute(compile=True, precision="bfloat16")}
        end = descended(alike, lesson, start, inputs, rates=rates, **how)
        found = torch.autograd.grad(end.sum(), reached)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert counters["stats"]["unique_graphs"] == 2  # a slope, and what is pulled back
    assert not counters["graph_break"]


def test_gradients_go_on_below_its_inputs(setting):
    learning, start, (images, labels), rates = setting
    below = nn.Parameter(torch.ones(6, 1, 1, 1, dtype=torch.float64))
    ends = [
        made(*learning, start.detach().requires_grad_(), (images.detach() * below, labels))
        for made in (
            lambda *given: descended(*given, rates=rates.detach()),
            lambda *given: naive(*given, rates.detach(), 0.0),
        )
    ]
    one, other = (torch.autograd.grad(end.square().sum(), below)[0] for end in ends)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("momentum", "vectors"), [(0.0, 1), (0.9, 2)])
def test_a_step_keeps_its_parameters_and_nothing_else(setting, momentum, vectors):
    learning, start, inputs, _ = setting
    for steps in (1, 30):
        rates = torch.full((steps,), 0.1, dtype=torch.float64, requires_grad=True)
        end = descended(*learning, start, inputs, rates=rates, momentum=momentum)
        kept = sum(tensor.nbytes for tensor in end.grad_fn.saved_tensors)
        given = sum(tensor.nbytes for tensor in (rates, *inputs))
        assert kept == given + steps * vectors * start.nbytes


def test_rates_alone_may_be_learned(setting):
    (network, lesson), start, inputs, rates = setting
    start, inputs = start.detach(), [one.detach() for one in inputs]
    found, expected = (
        torch.autograd.grad(end.square().sum(), rates)[0]
        for end in (
            descended(network, lesson, start, inputs, rates=rates),
            naive(network, lesson, start.clone().requires_grad_(), inputs, rates, 0.0),
        )
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_a_network_with_dropout_is_refused_where_steps_are_computed_again(setting):
    (_, lesson), _, inputs, rates = setting
    body = nn.Sequential(nn.Flatten(), nn.Dropout(0.5))
    network = FlatNetwork(Network(body, nn.Linear(64, 3)).double())
    with pytest.raises(TrainingError, match="stored = true"):
        descended(network, lesson, network.start, inputs, rates=rates)
    descended(network, lesson, network.start, inputs, rates=rates, stored=True)
