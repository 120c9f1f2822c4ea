"""Kernel and feature regression against naive references in float64."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import toys
from d3data.distill.experts import NetworkSpec
from d3data.distill.objectives import FeatureRegression, KernelRegression
from d3data.distill.objectives.base import sample_real
from d3data.distill.objectives.kernel_regression import tangent_kernel


def naive_tangent_kernel(x, y, depth):
    """Jacot et al. 2018, one pair of inputs, with weights of variance 2 and biases of 0.01."""

    def covariance(a, b):
        return 2 * sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 0.01

    xx, yy, xy = covariance(x, x), covariance(y, y), covariance(x, y)
    tangent = xy
    for _ in range(depth):
        angle = math.acos(max(-1, min(1, xy / math.sqrt(xx * yy))))
        slope = (math.pi - angle) / (2 * math.pi)
        passed = math.sin(angle) + (math.pi - angle) * math.cos(angle)
        xy = 2 * math.sqrt(xx * yy) * passed / (2 * math.pi) + 0.01
        tangent = 2 * slope * tangent + xy
        xx, yy = xx + 0.01, yy + 0.01
    return tangent


@pytest.mark.parametrize("depth", [1, 3])
def test_the_tangent_kernel_is_its_recursion(depth):
    one, other = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.manual_seed(0))
    other[0] = one[0]
    expected = [[naive_tangent_kernel(x, y, depth) for y in other.tolist()] for x in one.tolist()]
    found = tangent_kernel(one, other, depth)
    torch.testing.assert_close(found, torch.tensor(expected).double(), rtol=1e-6, atol=0)
    assert tangent_kernel(one, one, depth)[0, 0] == pytest.approx(expected[0][0], rel=1e-12)


def test_the_tangent_kernel_is_that_of_a_wide_network():
    torch.manual_seed(0)
    x, width = torch.randn(3, 5, dtype=torch.float64), 4096
    first = torch.randn(width, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(width, dtype=torch.float64, requires_grad=True)
    last = torch.randn(width, dtype=torch.float64, requires_grad=True)
    out = torch.randn((), dtype=torch.float64, requires_grad=True)
    hidden = (x @ first.T * math.sqrt(2 / 5) + 0.1 * bias).relu()
    outputs = hidden @ last * math.sqrt(2 / width) + 0.1 * out
    slopes = torch.stack(
        [
            torch.cat(
                [
                    slope.flatten()
                    for slope in torch.autograd.grad(
                        y, (first, bias, last, out), retain_graph=True
                    )
                ]
            )
            for y in outputs
        ]
    )
    torch.testing.assert_close(slopes @ slopes.T, tangent_kernel(x, x, 1), rtol=0.1, atol=0.1)


def test_the_tangent_kernel_has_finite_gradients_at_equal_inputs():
    x = torch.randn(2, 5, dtype=torch.float64).repeat(2, 1).requires_grad_()
    tangent_kernel(x, x, 2).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().max() > 0


def regressed(k_ss, k_ts, y_s, regularization):
    """The weights of the support, by the inverse."""
    size = len(k_ss)
    added = regularization * k_ss.diagonal().sum() / size * torch.eye(size).double()
    return k_ts @ torch.inverse(k_ss + added) @ y_s


def one_hot(labels):
    return F.one_hot(labels, 3).double() - 1 / 3


def test_kernel_regression_is_its_formula():
    source, context = toys.source("pixels"), toys.context(None, steps=1)
    objective = KernelRegression(real=30, depth=2, regularization=1e-3)
    loss = next(objective.losses(source, context))
    real = sample_real(context, 10, context.rng("kip", 0)).flatten(0, 1).flatten(1).double()
    x = source.pixels.detach().flatten(1).double()

    def kernel(one, other):
        pairs = [[naive_tangent_kernel(a, b, 2) for b in other.tolist()] for a in one.tolist()]
        return torch.tensor(pairs, dtype=torch.float64)

    found = regressed(kernel(x, x), kernel(real, x), one_hot(source.classes), 1e-3)
    truth = one_hot(torch.arange(3).repeat_interleave(10))
    assert loss.item() == pytest.approx(0.5 * (found - truth).square().mean().item(), rel=1e-5)


def with_labels(kind="pixels"):
    source = toys.source(kind)
    labels = F.one_hot(source.classes, 3).float() - 1 / 3
    source.labels = torch.nn.Parameter(labels + 0.01 * torch.randn(labels.shape))
    return source


def test_solved_labels_leave_no_slope():
    source, context = with_labels(), toys.context(None, steps=1)
    objective = KernelRegression(real=60, solve_labels=True, regularization=1e-2)
    before = next(
        KernelRegression(real=60, regularization=1e-2).losses(source, toys.context(None, steps=1))
    )
    after = next(objective.losses(source, context))
    after.backward()
    assert after < before
    assert source.labels.grad.abs().max() < 1e-6
    assert source.pixels.grad.abs().max() > 1e-6


def test_labels_are_solved_once_more_for_the_images_of_the_last_step():
    source, context = with_labels(), toys.context(None, steps=2)
    objective = KernelRegression(real=60, solve_labels=True, regularization=1e-2)
    toys.distill(source, objective, context, [torch.optim.SGD([source.pixels], lr=10.0)])
    objective.finish(source, context)
    source.zero_grad()
    learned = KernelRegression(real=60, regularization=1e-2)
    next(learned.losses(source, toys.context(None, steps=3, start=2))).backward()
    assert source.labels.grad.abs().max() < 1e-6


def test_labels_of_an_image_that_comes_twice_are_solved_alike():
    source = with_labels()
    source.pixels.data[1] = source.pixels.data[0]
    objective = KernelRegression(real=60, solve_labels=True)
    assert torch.isfinite(next(objective.losses(source, toys.context(None, steps=1))))
    torch.testing.assert_close(source.labels[0], source.labels[1])


@pytest.mark.parametrize("mirror", [False, True])
def test_feature_regression_is_its_formula(mirror):
    source, context = with_labels(), toys.context(None, steps=1)
    objective = FeatureRegression(
        network=NetworkSpec(width=8, norm="batch"),
        pool=3,
        real=20,
        regularization=1e-2,
        mirror=mirror,
    )
    loss = next(objective.losses(source, context))
    choice = int(torch.randint(3, (), generator=context.rng("choice", 0)))
    network = context.kept[f"pool/{choice}"].network.double().eval()
    real, labels = toys.task().train.batch(20, rng=context.rng("frepo", 0))
    x, y = source.pixels.detach().double(), source.labels.detach().double()
    ordered = y.sort(1, descending=True).values
    margin = torch.tensor([min(a - b, 1 / 3) for a, b, _ in ordered.tolist()]).mean()
    if mirror:
        x, y = torch.cat([x, x.flip(3)]), torch.cat([y, y])
    s, t = network.features(x), network.features(real.double())
    found = regressed(s @ s.T, t @ s.T, y, 1e-2)
    goal = one_hot(labels) / math.sqrt(3 / 10)  # as published: / sqrt(K / 10)
    error = (found - goal).square().sum(1).mean()
    assert loss.item() == pytest.approx((0.5 * error - margin).item(), rel=1e-3)


def test_a_pool_is_taught_what_it_was_asked_and_its_oldest_is_replaced():
    source = with_labels()
    objective = FeatureRegression(
        network=NetworkSpec(width=8, norm="batch"), pool=2, oldest=3, real=8
    )
    context = toys.context(None, steps=40)
    ages, chosen = [], []
    for step, _ in enumerate(objective.losses(source, context)):
        ages.append([context.kept[f"pool/{number}"].age for number in range(2)])
        chosen.append(int(torch.randint(2, (), generator=context.rng("choice", step))))
    assert ages[0] == [0, 1]
    for before, after, choice in zip(ages, ages[1:], chosen, strict=False):
        aged = 0 if before[choice] > 3 else before[choice] + 1
        assert after == [aged if number == choice else before[number] for number in range(2)]
    assert max(map(max, ages)) == 4


def test_a_network_is_taught_by_squared_errors_and_keeps_statistics_as_published():
    """One step of Adam on the images as they are now, with batch norms in training."""
    source, context = with_labels(), toys.context(None, steps=2)
    objective = FeatureRegression(
        network=NetworkSpec(width=8, norm="batch"), pool=1, real=8, learning_rate=0.01
    )
    stream = objective.losses(source, context)
    next(stream)
    taught = context.kept["pool/0"].network
    network = copy.deepcopy(taught).double().train()
    source.pixels.data += 0.1
    next(stream)
    images, labels = source.pixels.detach().double(), source.labels.detach().double()
    inputs = []
    norm = next(one for one in network.modules() if isinstance(one, nn.BatchNorm2d))
    norm.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    F.mse_loss(network(images), labels).backward()
    optimizer.step()
    for one, other in zip(taught.parameters(), network.parameters(), strict=True):
        if one.dim() > 1:  # biases before a norm have no gradient but that of rounding
            assert (one - other).abs().mean() < 1e-4
    mean = next(one for one in taught.modules() if isinstance(one, nn.BatchNorm2d)).running_mean
    seen = inputs[0].mean((0, 2, 3)).float()
    torch.testing.assert_close(mean, 0.9 * seen, rtol=1e-3, atol=1e-5)
