"""The examples run as they are written."""

import importlib.util
from pathlib import Path

import pytest

import d3data.distill

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested():
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f'example("{path.stem}")' in tested for path in EXAMPLES.glob("*.py"))


def test_a_classifier_learns_from_a_set(tmp_path, capsys):
    changes = ["warm_start.steps=300", "steps=2", "items_per_class=6"]
    recipe = d3data.distill.load_recipe("digits-ipc4", overrides=changes)
    folder = d3data.distill.run(recipe, out=tmp_path / "run", executor="inline")
    accuracy = example("train_a_classifier").main(str(folder), epochs=2)
    assert accuracy > 0.5  # chance is 0.1
    assert f"accuracy on real images: {accuracy:.3f}" in capsys.readouterr().out


def test_an_objective_of_your_own_is_a_generator():
    losses = example("your_own_objective").main(30)
    assert losses[-1] == pytest.approx(0.1 * losses[0], abs=0.1 * losses[0])
