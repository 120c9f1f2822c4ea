"""A moving average of weights that is tested in their place."""

import pytest
import torch

import d3data
from d3data import nets
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import EvalSetup
from d3data.evaluation.trial_training import TrialTraining, run_trial
from d3data.evaluation.weight_average import WeightAverage

TINY = Protocol(
    name="tiny",
    version=1,
    network=nets.NetworkSpec(width=4),
    networks=1,
    steps=3,
    batch=16,
    learning_rates=(0.05,),
    augment="none",
    average=0.75,
)


def test_it_is_its_recursion():
    network = torch.nn.BatchNorm1d(2)
    average, weights = WeightAverage(network, 0.75), [torch.ones(2)]
    for step in range(3):
        network.weight.data.fill_(float(step))
        average.update()
        weights.append(0.75 * weights[-1] + 0.25 * step)
    with average.applied():
        torch.testing.assert_close(network.weight.data, weights[-1])
    assert network.weight.tolist() == [2.0, 2.0]
    again = WeightAverage(torch.nn.BatchNorm1d(2), 0.5)
    again.load_state_dict(average.state_dict())
    assert torch.equal(again.state_dict()["weight"], weights[-1])
    assert "running_mean" in again.state_dict()


@pytest.mark.parametrize("decay", [0.75, None])
def test_the_average_is_what_is_tested(decay):
    data, task = d3data.load("digits-ipc4"), d3data.load_task("digits")
    protocol = TINY.model_copy(update={"average": decay})
    setup = EvalSetup(task, task.validation, protocol, torch.device("cpu"))
    made = []

    def build():
        made.append(nets.build(protocol.network, channels=1, size=8, classes=10, seed=0))
        return made[-1]

    run_trial(data, build, setup, seed=0, points=1)
    network = nets.build(protocol.network, channels=1, size=8, classes=10, seed=0)
    plain = TrialTraining(network, data, setup, seed=0)
    expected, stream = [one.detach().clone() for one in network.parameters()], plain._losses(0)
    for step in range(3):
        plain.optimizer.param_groups[0]["lr"] = 0.05 * protocol.factor(step, 3)
        plain.optimizer.zero_grad()
        next(stream).backward()
        plain.optimizer.step()
        for old, new in zip(expected, network.parameters(), strict=True):
            old.lerp_(new.detach(), 1.0 if decay is None else 1 - decay)
    for one, other in zip(made[-1].parameters(), expected, strict=True):
        torch.testing.assert_close(one.data, other)
