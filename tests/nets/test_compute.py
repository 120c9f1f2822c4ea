"""Passes through networks: eager or compiled, in float32 or bfloat16."""

import functools
import os
import subprocess
import sys

import pytest
import torch

import toys
from d3data import nets
from d3data.nets import compute
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.nets.network import features, logits

PAIRS = torch.ones(3, 2)
HALF = Compute(precision="bfloat16")
COMPILED = Compute(compile=True)

BROKEN = """
import torch
from torch import nn
from d3data.errors import DeviceError
from d3data.nets.compute import Compute
from d3data.nets.network import logits
try:
    Compute(compile=True)(logits, nn.Tanh(), torch.ones(3, 2))
except DeviceError as failure:
    print(failure)
"""


def network(seed=0):
    return toys.NETWORK.build(toys.task(), seed)


def images(count=32):
    return toys.task().train.read(torch.arange(count))


def gradients(run, net):
    for parameter in net.parameters():
        parameter.grad = None
    run(logits, net, images()).square().mean().backward()
    return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])


@pytest.fixture
def compilations(monkeypatch):
    """How many graphs were compiled, by a backend that generates no code."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    compute._compiled.cache_clear()
    yield lambda: torch._dynamo.utils.counters["stats"]["unique_graphs"]
    compute._compiled.cache_clear()


def test_as_it_is_written_nothing_changes():
    net = network()
    assert torch.equal(AS_WRITTEN(logits, net, images()), net(images()))
    assert torch.equal(AS_WRITTEN(features, net, images()), net.features(images()))


def test_half_precision_rounds_activations_and_nothing_else():
    net = network()
    exact, rounded = net(images()), HALF(logits, net, images())
    assert rounded.dtype == torch.float32
    assert 0 < (exact - rounded).abs().max() < 0.02 * exact.abs().max()
    one, other = gradients(AS_WRITTEN, net), gradients(HALF, net)
    assert other.dtype == torch.float32
    assert 0 < (one - other).norm() < 0.03 * one.norm()


def test_weights_that_were_stepped_are_what_is_computed_with():
    """Inside full precision too, where a training is: torch would keep the weights it rounded."""
    network, images = torch.nn.Linear(4, 4, bias=False), torch.eye(4)
    compute = Compute(precision="bfloat16", decoding="bfloat16")
    with compute.precisely(torch.device("cpu")):
        compute(torch.nn.Module.__call__, network, images)
        with compute.casting("cpu"):
            network(images)
        with torch.no_grad():
            network.weight.fill_(2.0)
        assert (compute(torch.nn.Module.__call__, network, images) == 2).all()
        with compute.casting("cpu"):
            assert (network(images) == 2).all()


def test_all_that_is_returned_is_single_precision():
    def both(net, batch):
        return net.body(batch), net(batch)

    outputs = HALF(both, network(), images())
    assert [tensor.dtype for tensor in outputs] == [torch.float32] * 2


@toys.compiler
def test_compiled_passes_and_gradients_are_those_as_written():
    net = nets.build("mlp", channels=1, size=8, classes=3, width=8, depth=1, seed=0)
    assert torch.allclose(COMPILED(logits, net, images()), net(images()), atol=1e-4)
    one, other = gradients(AS_WRITTEN, net), gradients(COMPILED, net)
    assert (one - other).norm() < 1e-4 * one.norm()


def test_networks_that_are_alike_share_one_compilation(compilations):
    COMPILED(logits, network(1), images())
    before = compilations()
    for seed in range(2, 6):
        net = network(seed)
        assert torch.allclose(COMPILED(logits, net, images()), net(images()), atol=1e-4)
    assert compilations() == before


def test_many_kinds_of_networks_are_all_compiled(compilations):
    for width in range(1, 12):
        before = compilations()
        COMPILED(logits, torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Tanh()), PAIRS)
        assert compilations() == before + 1


def test_without_a_compiler_that_is_said(tmp_path):
    without = {
        **os.environ,
        "CXX": str(tmp_path / "none"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], env=without, capture_output=True, text=True, check=False
    )
    assert "torch.compile fails here" in done.stdout, done.stderr
    assert "where a C++ compiler is missing, install one" in done.stdout
