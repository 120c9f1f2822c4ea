"""The ground that everything stands on: randomness, frozen records, files, the loop."""

import signal
import subprocess
import sys
import textwrap
from typing import Literal

import pytest
import torch
from pydantic import Field, field_validator, model_validator

from d3data import errors
from d3data.nets import training
from d3data.utils import atomic, rng
from d3data.utils.device import as_device
from d3data.utils.schema import Frozen


def test_errors_have_one_root():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert all(
        issubclass(kind, errors.D3DataError)
        for kind in kinds
        if kind.__module__ == "d3data.errors"
    )
    for kind in kinds:
        if kind.__module__ == "d3data.errors":
            assert kind.__name__ in (errors.__doc__ or ""), f"{kind.__name__} is not in the tree"


def test_a_key_decides_the_numbers():
    assert rng.derive(0, "a", 1) == rng.derive(0, "a", 1)
    keys = [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2), (0, "a", "1"), (0, "a1"), (0,)]
    assert len({rng.derive(seed, *key) for seed, *key in keys}) == len(keys)


def test_seeding_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    with rng.seeded(3, "network"):
        one = torch.rand(4)
    assert torch.equal(before, torch.get_rng_state())
    with rng.seeded(3, "network"):
        assert torch.equal(one, torch.rand(4))


class Leaf(Frozen):
    kind: Literal["leaf"] = "leaf"
    color: str = "green"


class Branch(Frozen):
    kind: Literal["branch"] = "branch"
    length: int = 1
    leaves: tuple[Leaf, ...] = ()


class Tree(Frozen):
    height: float = Field(default=1.0, gt=0)
    top: Leaf | Branch = Field(default=Leaf(), discriminator="kind")
    leaves: tuple[Leaf, ...] = ()


class Pair(Frozen):
    low: int = 0
    high: int = 0
    name: str = "pair"

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        if not name:
            raise ValueError("a pair needs a name")
        return name

    @model_validator(mode="after")
    def _ordered(self) -> "Pair":
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Pairs(Frozen):
    pairs: tuple[Pair, ...]


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Pair, {"low": 1}, "pairs.toml: low is above high"),
        (Pairs, {"pairs": [{}, {"low": 1}]}, "pairs.toml: pairs.1: low is above high"),
        (Pairs, {}, "pairs.toml: pairs: Field required"),
        (Pair, {"name": ""}, "pairs.toml: name: a pair needs a name (got '')"),
    ],
)
def test_a_fault_of_a_record_is_told_in_its_own_words(kind, values, message):
    with pytest.raises(errors.RecipeError) as failure:
        kind.parse(values, where="pairs.toml")
    assert str(failure.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hieght": 2}, "unknown key 'hieght': did you mean height"),
        ({"top": {"kind": "branch", "lenght": 2}}, "did you mean length"),
        ({"leaves": [{"colour": "red"}]}, "unknown key 'leaves.0.colour': did you mean color"),
        ({"top": {"kind": "branch", "leaves": [{"colr": 1}]}}, "did you mean color"),
        ({"height": -1}, r"height: must be greater than 0 \(got -1\)"),
        ({"height": float("nan")}, "height"),
    ],
)
def test_a_misspelt_record_names_the_nearest_key(values, message):
    with pytest.raises(errors.RecipeError, match=f"tree.toml: .*{message}"):
        Tree.parse(values, where="tree.toml")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a" / "file"
    atomic.write_bytes(path, b"old")

    def interrupted():
        with atomic.replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    atomic.write_bytes(path, b"old")
    code = f"""
        import os, signal, pathlib
        from d3data.utils import atomic
        with atomic.replacing(pathlib.Path({str(path)!r})) as temporary:
            temporary.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)])
    assert run.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_a_loss_that_is_not_finite_stops_training():
    weight = torch.nn.Parameter(torch.ones(()))
    losses = (weight * value for value in (1.0, float("nan")))
    with pytest.raises(errors.TrainingError, match="nan at step 1 of 2: lower the learning"):
        training.descend(losses, [torch.optim.SGD([weight], lr=0.1)], steps=2)


def test_a_schedule_is_a_function_of_the_step_alone():
    def trained(start, weight):
        optimizer = torch.optim.SGD([weight], lr=0.5)
        losses = (weight * 1.0 for _ in range(start, 6))
        factor = lambda step: training.cosine(step, 6)  # noqa: E731
        stream = training.scheduled(losses, optimizer, factor, start=start)
        stop = 6 if start else 3
        training.descend(stream, [optimizer], start=start, steps=stop)
        return weight

    weight = torch.nn.Parameter(torch.ones(()))
    halves = trained(3, trained(0, weight))
    expected = 1 - 0.5 * sum(training.cosine(step, 6) for step in range(6))
    assert halves.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:7"])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(errors.DeviceError, match=name):
        as_device(name)
