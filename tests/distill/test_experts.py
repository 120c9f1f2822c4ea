"""Recorded trajectories against gradient descent that is written out, in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import toys
from d3data.distill.experts import ExpertPlan
from d3data.images.augment import augmentation
from d3data.utils import rng

PLAN = ExpertPlan(
    network=toys.NETWORK,
    count=2,
    epochs=2,
    batch=64,
    learning_rate=0.02,
    momentum=0.8,
    weight_decay=0.05,
)


def naive(plan, index):
    """The parameters before training and after each epoch, whose last batch is smaller."""
    train = toys.task().train
    network = plan.network.build(toys.task(), 0, "expert", index).double()
    speeds = [torch.zeros_like(one) for one in network.parameters()]
    yield nn.utils.parameters_to_vector(network.parameters()).detach()
    for epoch in range(plan.epochs):
        random = rng.generator(0, "expert", index, epoch)
        order = torch.randperm(len(train), generator=random)
        for first in range(0, len(train), plan.batch):
            chosen = order[first : first + plan.batch]
            images = augmentation(plan.augment)(train.read(chosen), random)
            loss = F.cross_entropy(network(images.double()), train.labels[chosen])
            slopes = torch.autograd.grad(loss, list(network.parameters()))
            for one, speed, slope in zip(network.parameters(), speeds, slopes, strict=True):
                speed.mul_(plan.momentum).add_(slope + plan.weight_decay * one.detach())
                one.data.sub_(plan.learning_rate * speed)
        yield nn.utils.parameters_to_vector(network.parameters()).detach()


@pytest.mark.parametrize("augment", ["none", "siamese-noflip"])
def test_an_expert_is_stochastic_gradient_descent_noted_after_each_epoch(augment, tmp_path):
    plan = PLAN.model_copy(update={"augment": augment})
    assert len(toys.task().train) % plan.batch
    recorded = toys.experts(tmp_path, plan)
    for index in range(plan.count):
        start, *later = naive(plan, index)
        assert torch.equal(recorded.snapshot(index, 0).double(), start)
        for epoch, expected in enumerate(later, 1):
            error = recorded.snapshot(index, epoch).double() - expected
            assert error.norm() < 1e-4 * (expected - start).norm()
