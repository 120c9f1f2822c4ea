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


def test_parts_hold_what_the_recipe_says(tmp_path):
    found = run(tmp_path / "run", quantize={**INTEGERS, "axis": "items"})
    part = found.manifest.content.parts[0]
    assert part.quantization == Quantization(**INTEGERS, axis="items")
    assert found.ledger.purposes["scales"] > 0
    found.check_golden()
    plain = run(tmp_path / "plain")
    assert found.ledger.content_bytes < plain.ledger.content_bytes
    assert found.ledger.published_values == plain.ledger.published_values


def test_the_last_steps_are_taken_on_what_rounding_leaves(tmp_path):
    found = run(tmp_path / "run", quantize={"steps": 5, "priors": "int2", "decoder": "int8"})
    assert len(losses(tmp_path / "run", "distill")) == 6
    assert len(losses(tmp_path / "run", "quantize")) == 5
    rounded_late = run(tmp_path / "late", quantize={"priors": "int2", "decoder": "int8"})
    assert found.manifest.content.parts[0].sha256 != rounded_late.manifest.content.parts[0].sha256


def test_all_of_the_distillation_may_be_like_that(tmp_path):
    run(tmp_path / "run", steps=0, quantize={"steps": 5, **INTEGERS})
    assert losses(tmp_path / "run", "distill") == []
    assert len(losses(tmp_path / "run", "quantize")) == 5


def test_steps_through_the_rounding_see_other_images_than_steps_without(tmp_path):
    coarse = {"priors": "int2", "decoder": "int2"}
    run(tmp_path / "coarse", steps=0, quantize={"steps": 2, **coarse})
    run(tmp_path / "fine", steps=0, quantize={"steps": 2})
    assert losses(tmp_path / "coarse", "quantize")[0] != losses(tmp_path / "fine", "quantize")[0]


def test_labels_are_those_of_the_rounded_images_and_rounded_too(tmp_path):
    teacher = {"teacher": {**runs.EXPERTS, "count": 1}, "epoch": 1}
    found = run(tmp_path / "run", labels=teacher, quantize={**INTEGERS, "labels": "int8"})
    labels = found.part(0).tensors["labels"]
    assert (labels >= 0).all()
    assert found.manifest.content.parts[0].quantization.labels == "int8"


@pytest.mark.parametrize(
    ("quantize", "fault"),
    [
        ({"priors": "int1"}, r"quantize\.priors"),
        ({"prior": "int4"}, r"did you mean priors"),
        ({"steps": -1}, r"quantize\.steps"),
    ],
)
def test_what_cannot_be_is_refused(quantize, fault):
    with pytest.raises(RecipeError, match=fault):
        runs.recipe(quantize=quantize)


def test_steps_need_an_objective():
    with pytest.raises(RecipeError, match="go together"):
        runs.recipe(steps=0, objective=None, optimizers={}, quantize={"steps": 3})
