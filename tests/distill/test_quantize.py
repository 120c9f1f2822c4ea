"""A recipe's [quantize]: what parts hold, and the steps that are taken through the rounding."""

import json

import pytest

import tiny_runs as runs
from d3data import artifact, distill
from d3data.artifact.quantize import Quantization
from d3data.errors import RecipeError

INTEGERS = {"priors": "int4", "decoder": "int8"}


def losses(out, stage):
    lines = (out / "subtasks" / "000" / "metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if line["stage"] == stage]


def run(out, **changed):
    distill.run(runs.recipe(**changed), out=out, executor="inline", workers=1)
    return artifact.read(out / "artifact")


def test_parts_hold_what_the_recipe_says_and_labels_are_rounded_too(tmp_path):
    integers = {**INTEGERS, "axis": "items", "labels": "int8"}
    teacher = {"teacher": {**runs.EXPERTS, "count": 1}, "epoch": 1}
    found = run(tmp_path / "run", labels=teacher, quantize=integers)
    part = found.manifest.content.parts[0]
    assert part.quantization == Quantization(**integers)
    assert (found.part(0).tensors["labels"] >= 0).all()
    assert found.ledger.purposes["scales"] > 0
    found.check_golden()
    del integers["labels"]
    found = run(tmp_path / "hard", quantize=integers)
    plain = run(tmp_path / "plain")
    assert found.ledger.content_bytes < plain.ledger.content_bytes
    assert found.ledger.published_values == plain.ledger.published_values


def test_the_last_steps_are_taken_on_what_rounding_leaves(tmp_path):
    found = run(tmp_path / "run", quantize={"steps": 5, "priors": "int2", "decoder": "int8"})
    assert len(losses(tmp_path / "run", "distill")) == 6
    assert len(losses(tmp_path / "run", "quantize")) == 5
    rounded_late = run(tmp_path / "late", quantize={"priors": "int2", "decoder": "int8"})
    assert found.manifest.content.parts[0].sha256 != rounded_late.manifest.content.parts[0].sha256


def test_all_steps_may_be_through_the_rounding_and_then_see_other_images(tmp_path):
    coarse = {"priors": "int2", "decoder": "int2"}
    run(tmp_path / "coarse", steps=0, quantize={"steps": 2, **coarse})
    run(tmp_path / "fine", steps=0, quantize={"steps": 2})
    assert losses(tmp_path / "coarse", "distill") == []
    assert len(losses(tmp_path / "coarse", "quantize")) == 2
    assert losses(tmp_path / "coarse", "quantize")[0] != losses(tmp_path / "fine", "quantize")[0]


@pytest.mark.parametrize(
    ("quantize", "fault"),
    [
        ({"priors": "int1"}, r"quantize\.priors"),
        ({"prior": "int4"}, r"did you mean priors"),
        ({"steps": -1}, r"quantize\.steps"),
        ({"steps": 3}, "go together"),  # with an objective
    ],
)
def test_what_cannot_be_is_refused(quantize, fault):
    with pytest.raises(RecipeError, match=fault):
        runs.recipe(steps=0, objective=None, optimizers={}, quantize=quantize)
