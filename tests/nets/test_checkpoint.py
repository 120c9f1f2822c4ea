import pytest
import safetensors.torch
import torch
from torch import nn

from d3data.errors import RunError
from d3data.nets.checkpoint import Checkpoint


class Counter:
    """Something whose state is JSON."""

    def __init__(self, state=None):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def trained(kind, steps=3):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = kind(network.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    return network, optimizer


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and one == other


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "checkpoint.safetensors", every_seconds=1000)


OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.5),
    "plain sgd": lambda p: torch.optim.SGD(p, lr=0.01),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_networks_and_optimizers_come_back_as_they_were(checkpoint, kind):
    network, optimizer = trained(OPTIMIZERS[kind])
    checkpoint.save("distill", 7, {"network": network, "optimizer": optimizer})
    saved = checkpoint.read()
    assert (saved.stage, saved.step) == ("distill", 7)
    again, anew = trained(OPTIMIZERS[kind], steps=0)
    again.load_state_dict(saved.states["network"])
    anew.load_state_dict(saved.states["optimizer"])
    assert equal(dict(again.state_dict()), dict(network.state_dict()))
    assert equal(anew.state_dict(), optimizer.state_dict())


def test_every_leaf_comes_back_with_its_type(checkpoint):
    state = {
        0: {"number": 1e-7, "list": [1, 2.5, None, True, "x"], "deep": [{"a": torch.eye(2)}]},
        "0": torch.tensor(5),
        "kinds": {
            "half": torch.ones(2, dtype=torch.bfloat16),
            "bool": torch.tensor([True, False]),
            "empty": torch.zeros(0, 3),
            "view": torch.arange(12.0).view(3, 4).T,
        },
        "infinite": float("inf"),
    }
    checkpoint.save("warm start", 0, {"a": Counter(state), "a/0": Counter({"x": torch.ones(1)})})
    assert equal(checkpoint.read().states["a"], state)


def test_what_shares_memory_comes_back_apart(checkpoint):
    tensor = torch.arange(6.0)
    checkpoint.save("distill", 1, {"it": Counter({"whole": tensor, "part": tensor[2:4]})})
    assert checkpoint.read().states["it"]["part"].tolist() == [2, 3]


def test_there_is_none_before_the_first(checkpoint):
    assert checkpoint.read() is None


def test_states_within_a_prefix(checkpoint):
    checkpoint.save(
        "distill", 1, {"kept/0/pool": Counter(1), "kept/x": Counter(2), "source": Counter(3)}
    )
    assert checkpoint.read().within("kept/") == {"0/pool": 1, "x": 2}


def test_one_is_due_when_the_last_is_old_enough(tmp_path):
    assert Checkpoint(tmp_path / "a", every_seconds=0).due
    assert not Checkpoint(tmp_path / "a", every_seconds=1000).due


def with_metadata(content, metadata):
    return safetensors.torch.save(safetensors.torch.load(content), metadata)


DAMAGE = {
    "cut short": lambda content: content[:-9],
    "empty": lambda content: b"",
    "a flipped bit": lambda content: content[:-20] + bytes([content[-20] ^ 1]) + content[-19:],
    "noise": lambda content: b"\xff" * 100,
    "other JSON": lambda content: with_metadata(content, {"d3data": "[]"}),
    "keys missing": lambda content: with_metadata(content, {"d3data": '{"stage": "distill"}'}),
    "of another tool": lambda content: with_metadata(content, None),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_one_is_a_clear_error(checkpoint, how):
    checkpoint.save("distill", 1, {"it": Counter({"a": torch.arange(100.0)})})
    checkpoint.path.write_bytes(DAMAGE[how](checkpoint.path.read_bytes()))
    with pytest.raises(
        RunError, match=r"checkpoint\.safetensors is broken .*delete it and repeat"
    ):
        checkpoint.read()


def test_saving_again_replaces_and_leaves_nothing_else(checkpoint):
    for step in range(3):
        checkpoint.save("distill", step, {"it": Counter({"a": torch.full((4,), float(step))})})
    assert checkpoint.read().step == 2
    assert [p.name for p in checkpoint.path.parent.iterdir()] == ["checkpoint.safetensors"]
