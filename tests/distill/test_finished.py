"""Runs that go on from a finished set: its tensors first, then the recipe's steps."""

import json
from pathlib import Path

import pytest
import torch

import d3data
import tiny_runs as runs
from d3data import artifact, distill
from d3data.distill.engine import MetricsLog
from d3data.distill.starts import finished
from d3data.errors import ForeignRunError, RecipeError

MORE = {"name": "more", "seed": 4, "optimizers": {"priors": {"learning_rate": 0.01}}}
PIXELS = {
    "source": {"kind": "pixels"},
    "subtasks": {"count": 2},
    "optimizers": {"pixels": {"learning_rate": 0.01}},
}


def run(recipe, out, **more):
    return artifact.read(distill.run(recipe, out=out, executor="inline", **more))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return run(runs.recipe(), tmp_path_factory.mktemp("first"))


def tensors(made):
    return made.part(0).tensors


def test_it_begins_where_the_set_ends(first, tmp_path):
    made = run(runs.recipe(**MORE), tmp_path / "more", start=first)
    before, after = tensors(first), tensors(made)
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"mean", "std"}  # what has an optimizer
    assert (before["mean"] - after["mean"]).abs().max() < 0.07  # six steps of 0.01
    assert not torch.equal(
        tensors(run(runs.recipe(**MORE), tmp_path / "b"))["mean"], after["mean"]
    )


def test_its_provenance_is_kept_through_several_sets(first, tmp_path):
    second = run(runs.recipe(**MORE), tmp_path / "a", start=first.folder)
    third = run(runs.recipe(**MORE | {"name": "third"}), tmp_path / "b", start=second)
    (parent,) = json.loads(third.file("made_from.json"))["sets"]
    assert parent["content_sha256"] == second.manifest.content_sha256
    assert parent["about"] == second.manifest.about.dump()
    assert parent["recipe"].encode() == second.file("recipe.toml")
    (grandparent,) = parent["made_from"]
    assert grandparent["content_sha256"] == first.manifest.content_sha256
    assert "steps = 0" in third.file("recipe.toml").decode().partition("[warm_start]")[2]


def test_a_run_that_was_stopped_goes_on_without_the_set(first, tmp_path, monkeypatch):
    recipe = runs.recipe(**MORE)
    undisturbed = run(recipe, tmp_path / "whole", start=first)

    def stop(log, progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "cut", start=first, save_every=0.0)
    made = run(recipe, tmp_path / "cut")
    assert made.manifest.content_sha256 == undisturbed.manifest.content_sha256
    assert run(recipe, tmp_path / "cut", start=first).folder == made.folder


def test_a_set_that_a_killed_run_has_left_is_not_begun_with(first, tmp_path):
    """It was kept before the recipe was, so that the run had not begun."""
    finished.keep(tmp_path / "left", first)
    clean, made = (run(runs.recipe(**MORE), tmp_path / name) for name in ("clean", "left"))
    assert made.manifest.content_sha256 == clean.manifest.content_sha256
    assert not [entry for entry in made.manifest.files if entry.path == "made_from.json"]


def test_a_recipe_that_only_goes_on_needs_a_set(first, tmp_path):
    recipe = runs.recipe(**MORE, warm_start={"after": "digits-ipc4"})
    with pytest.raises(RecipeError, match=r"`d3data distill digits-ipc4`.* --from \./runs/digits"):
        run(recipe, tmp_path / "none")
    made = run(recipe, tmp_path / "some", start=first)
    with pytest.raises(RecipeError, match="goes on from digits-ipc4"):
        run(distill.get_recipe(made.folder / "recipe.toml"), tmp_path / "again")
    assert made.manifest.about.provenance.recipe_sha256 == recipe.continued("").identity


def test_parts_that_were_merged_are_subtasks(tmp_path):
    made = run(runs.recipe(**PIXELS), tmp_path / "a")
    more = run(runs.recipe(**PIXELS | {"name": "more"}), tmp_path / "b", start=made)
    for one, other in zip(made.sources(), more.sources(), strict=True):
        assert 0 < (one.pixels - other.pixels).abs().max() < 0.07
    assert d3data.load(more.folder).classes == d3data.load(made.folder).classes


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"items_per_class": 3}, "add --set 'items_per_class=2'"),
        ({"subtasks": {"count": 2}}, r"add --set 'subtasks.blocks=\[\[0, 1, 2,"),
        ({"source": runs.GAUSSIAN | {"std": "class"}}, "another source"),
        ({"task": {"name": "digits", "size": 16}}, "another image"),
        ({"steps": 0, "objective": None, "optimizers": {}}, "no steps"),
    ],
)
def test_a_set_that_does_not_fit_is_refused_before_anything_is_done(
    first, tmp_path, changes, fault
):
    with pytest.raises(RecipeError, match=fault):
        run(runs.recipe(**MORE | changes), tmp_path / "run", start=first)
    assert not (tmp_path / "run" / "recipe.toml").exists()


def test_a_run_keeps_to_the_set_that_it_began_with(first, tmp_path):
    recipe = runs.recipe(**MORE)
    other = run(recipe, tmp_path / "other", start=first)
    with pytest.raises(ForeignRunError, match="was started from tiny"):
        run(recipe, tmp_path / "other", start=other)
    run(recipe, tmp_path / "plain")
    with pytest.raises(ForeignRunError, match="was started from no set"):
        run(recipe, tmp_path / "plain", start=first)
    assert Path(tmp_path / "plain" / "start").exists() is False
