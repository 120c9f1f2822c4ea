"""Labels that are learned with the images: targets of a regression, not probabilities."""

import pytest
import torch
from torch.nn import functional as F

import d3data
import tiny_runs as runs
import toys
from d3data import artifact, cards, distill, nets
from d3data.artifact.quantize import Quantization
from d3data.distill import jobs
from d3data.distill.recipe import Quantize
from d3data.distill.straight_through import StraightThrough
from d3data.errors import ArtifactError, FormatError, RecipeError
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import EvalSetup
from d3data.evaluation.trial_training import TrialTraining

KIP = {
    "source": {"kind": "pixels"},
    "objective": {"kind": "kip", "real": 40},
    "optimizers": {"pixels": {"learning_rate": 0.01}, "labels": {"learning_rate": 0.05}},
    "learn_labels": True,
    "steps": 3,
}
TINY = Protocol(
    name="tiny",
    version=1,
    network=nets.NetworkSpec(width=4),
    networks=1,
    steps=2,
    batch=16,
    learning_rates=(0.05,),
    augment="none",
    mix="cutmix",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    recipe = runs.recipe(**KIP)
    out = tmp_path_factory.mktemp("learned") / "run"
    return artifact.read(distill.run(recipe, out=out, executor="inline"))


def test_a_set_keeps_them_and_says_so(made, tmp_path):
    made.check()
    made.check_golden()
    content = made.manifest.content
    assert (content.format, content.labels.kind) == (2, "targets")
    labels = torch.cat([source.labels for source in made.sources()])
    begun = F.one_hot(torch.arange(10).repeat_interleave(2), 10) - 0.1
    assert 0.01 < (labels - begun).abs().max() < 0.2
    assert made.ledger.purposes["labels"] == labels.nbytes
    data = d3data.load(made.folder)
    assert torch.equal(data[3][1], labels[2 * 3])
    assert data.learned_labels
    assert not d3data.load(made.folder, soft_labels=False).learned_labels
    assert "| labels | learned: rows of numbers" in cards.card(cards.Facts.of(made))
    smaller = d3data.quantize(made, bits=8, out=tmp_path / "smaller")
    assert torch.equal(smaller.sources()[0].labels, labels)
    with pytest.raises(ArtifactError, match="targets cannot be stored as integers"):
        d3data.quantize(made, bits={"labels": 8}, out=tmp_path / "rounded")


def test_they_are_rounded_where_the_recipe_says_and_distilled_through_the_rounding(tmp_path):
    recipe = runs.recipe(**KIP | {"quantize": {"labels": "float16", "steps": 2}})
    found = artifact.read(distill.run(recipe, out=tmp_path / "run", executor="inline"))
    (source,) = found.sources()
    assert found.manifest.content.parts[0].quantization.labels == "float16"
    assert torch.equal(source.labels, source.labels.half().float())
    whole = recipe.model_copy(update={"quantize": Quantize(labels="int8")})
    with pytest.raises(RecipeError, match="targets cannot be stored as integers"):
        distill.run(whole, out=tmp_path / "whole", executor="inline")


@pytest.mark.parametrize("objective", ["kip", "frepo"])
def test_objectives_see_them_as_they_are_stored(objective):
    rounded, source = toys.source("pixels"), toys.source("pixels")
    labels = torch.rand(len(source.classes), 3, generator=torch.manual_seed(0))
    source.labels = torch.nn.Parameter(labels.clone())
    rounded.labels = torch.nn.Parameter(labels.half().float())
    assert not torch.equal(source.labels, rounded.labels)
    seen = StraightThrough(source, Quantization(labels="float16"))
    losses = [
        next(toys.OBJECTIVES[objective].losses(one, toys.context(None, steps=1)))
        for one in (rounded, seen)
    ]
    for loss in losses:
        loss.backward()
    assert torch.equal(*losses)
    assert torch.equal(source.labels.grad, rounded.labels.grad)


@pytest.mark.parametrize(("classes", "scale"), [(10, 1), (3, (3 / 10) ** 0.5)])
def test_those_of_frepo_begin_as_it_scales_its_targets(classes, scale):
    task = d3data.load_task("digits").subtask(range(classes))
    frepo = {"kind": "frepo", "network": {"width": 4, "depth": 1, "norm": "batch"}}
    source = jobs.blank(runs.recipe(**KIP | {"objective": frepo}), task)
    begun = F.one_hot(source.classes, classes) - 1 / classes
    torch.testing.assert_close(source.labels.detach(), begun / scale)


def test_networks_are_trained_to_predict_them(made):
    data, task = d3data.load(made.folder), d3data.load_task("digits")
    d3data.evaluate(data, task, protocol=TINY, split="validation", baselines=[])
    plain = TINY.model_copy(update={"mix": "none", "batch": len(data)})
    network = nets.build(plain.network, channels=1, size=8, classes=10, seed=0)
    setup = EvalSetup(task, task.validation, plain, torch.device("cpu"))
    loss = next(TrialTraining(network, data, setup, seed=0)._losses(0))
    images, labels = data.batch(0, range(len(data)))
    apart = (network(images).double() - labels).square().sum(1)
    assert loss.item() == pytest.approx(0.5 * apart.mean().item(), rel=1e-5)


def test_a_run_goes_on_from_them(made, tmp_path):
    recipe = runs.recipe(**KIP | {"steps": 1, "optimizers": {"pixels": {"learning_rate": 0.01}}})
    again = distill.run(recipe, out=tmp_path / "on", executor="inline", start=made)
    assert torch.equal(artifact.read(again).sources()[0].labels, made.sources()[0].labels)
    only = {"pixels": {"learning_rate": 1}}
    hard = runs.recipe(**KIP | {"learn_labels": False, "optimizers": only})
    with pytest.raises(RecipeError, match="has learned labels, which would be lost"):
        distill.run(hard, out=tmp_path / "off", executor="inline", start=made)


def test_sets_that_have_them_are_not_joined(made, tmp_path):
    content = made.manifest.content
    other = artifact.write(
        tmp_path / "other",
        spec=content.source,
        image=content.image,
        preprocessing=content.preprocessing,
        classes=[f"no {name}" for name in content.classes],
        parts=[made.part(0)],
        about=made.manifest.about,
        labels=content.labels,
    )
    with pytest.raises(ArtifactError, match=r"learned labels, .* cannot be joined"):
        d3data.merge([made, other], out=tmp_path / "both", name="both")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"objective": runs.DM}, "learn_labels is for objectives that regress"),
        ({"labels": {"epoch": 1}}, "without a .labels. table"),
        ({"learn_labels": False}, r"optimizers\.labels: a pixels source has no such"),
        ({"subtasks": {"count": 2}}, "labels are over all classes, and a subtask has some"),
    ],
)
def test_what_cannot_learn_labels_is_refused(changed, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        distill.run(runs.recipe(**KIP | changed), out=tmp_path / "run", executor="inline")


@pytest.mark.parametrize(("format", "kind"), [(1, "targets"), (2, "hard")])
def test_a_format_has_its_own_labels(format, kind, made):
    page = made.manifest.content.dump() | {"format": format, "labels": {"kind": kind}}
    with pytest.raises(FormatError, match=f"format {format} cannot have {kind} labels"):
        type(made.manifest.content).parse(page, where="a page", error=FormatError)
