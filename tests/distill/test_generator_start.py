"""Where latents of a generator, and the generator, come from."""

import json

import pytest
import torch
from typer.testing import CliRunner

import tiny_runs as runs
import toys
from d3data import artifact, distill
from d3data.artifact import generator_file
from d3data.cli.commands import app
from d3data.distill.starts import generator
from d3data.errors import RecipeError, RunError

NETWORK = {"width": 4, "base": 32, "styles": 4}
SOURCE = {"kind": "generator", "network": NETWORK, "layer": 1}
PIXELS = {"source": {"kind": "pixels"}, "optimizers": {"pixels": {"learning_rate": 1}}}
OPTIMIZERS = {"maps": {"learning_rate": 0.01}, "styles": {"learning_rate": 0.001}}


def recipe(*, seed=None, **changed):
    source = SOURCE if seed is None else {**SOURCE, "seed": seed}
    warm = {"steps": 3, "batch": 16, "width": 4}
    return runs.recipe(
        **{"source": source, "optimizers": OPTIMIZERS, "warm_start": warm, "steps": 2} | changed
    )


def run(out, **changed):
    return artifact.read(distill.run(recipe(**changed), out=out, executor="inline"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A generator of the digits that was fitted for three steps."""
    out = tmp_path_factory.mktemp("weights") / "generator.safetensors"
    return distill.pretrain_generator("digits", out=out, steps=3, batch=16, **NETWORK)


def test_a_random_generator_takes_no_bytes(tmp_path):
    made = run(tmp_path / "run", seed=9)
    made.check(), made.check_golden()
    assert made.manifest.content.format == 2
    assert made.manifest.about.method.name == "generator + dm"
    assert made.ledger.purposes["decoder"] == 0
    assert made.ledger.purposes["maps"] > 0 < made.ledger.purposes["styles"]
    lines = (tmp_path / "run/subtasks/000/metrics.jsonl").read_text().splitlines()
    assert {json.loads(line)["stage"] for line in lines} == {"distill"}


def test_a_generator_is_fitted_and_its_layers_from_the_cut_on_are_shipped(tmp_path):
    made = run(tmp_path / "run")
    (source,) = made.sources()
    assert {name for name in source.state_dict() if name.startswith("decoder")} == {
        f"decoder.{layer}.{name}"
        for layer in ("convs.1", "convs.2", "rgbs.1")
        for name in ("affine.bias", "affine.weight", "bias", "weight")
    }
    assert made.ledger.purposes["decoder"] > 0
    begun = run(tmp_path / "begun", steps=0, objective=None, optimizers={})
    for name, tensor in source.decoder.state_dict().items():
        assert torch.equal(tensor, begun.sources()[0].decoder.state_dict()[name])
    moved = source.maps.features - begun.sources()[0].maps.features
    assert moved.abs().max() > 0


def test_it_is_resumed_as_if_it_had_never_stopped(tmp_path):
    runs.finish(recipe(), tmp_path / "whole")
    process = runs.start(recipe(), tmp_path / "stopped", save_every=0)
    runs.until(lambda: any(tmp_path.glob("stopped/subtasks/*/checkpoint.safetensors")))
    process.kill()
    process.join()
    runs.finish(recipe(), tmp_path / "stopped")
    assert runs.outcome(tmp_path / "stopped") == runs.outcome(tmp_path / "whole")


def test_a_file_of_weights_is_used_as_it_is(weights, tmp_path):
    warm = {"weights": str(weights)}
    made = run(tmp_path / "run", warm_start=warm, subtasks={"count": 2})
    given = generator_file.read(weights).synthesis.state_dict()
    for source in made.sources():
        for name, tensor in source.decoder.state_dict().items():
            assert torch.equal(tensor, given[name])
    assert not weights.with_name(f"{weights.name}.run").exists()


def test_a_fit_that_was_stopped_goes_on_with_its_own_arguments_only(tmp_path):
    out = tmp_path / "generator.safetensors"
    how = {"steps": 4, "batch": 16, **NETWORK}

    def stop(at):
        if at.step == 2:
            raise KeyboardInterrupt

    whole = distill.pretrain_generator("digits", out=tmp_path / "whole.safetensors", **how)
    with pytest.raises(KeyboardInterrupt):
        distill.pretrain_generator("digits", out=out, progress=stop, **how)
    for changed in ({"width": 6}, {"seed": 1}, {"batch": 8}, {"steps": 1}):
        with pytest.raises(RunError, match=f"{next(iter(changed))} .* and not"):
            distill.pretrain_generator("digits", out=out, **how | changed)
    with pytest.raises(RunError, match=r"images .* and not"):
        distill.pretrain_generator("digits", out=out, size=16, **how)
    distill.pretrain_generator("digits", out=out, **how)
    assert out.read_bytes() == whole.read_bytes()
    with pytest.raises(RunError, match="is there already"):
        distill.pretrain_generator("digits", out=out, **how)
    with pytest.raises(RunError, match="is a folder"):
        distill.pretrain_generator("digits", out=tmp_path, **how)


@pytest.mark.parametrize("how", ["random", "mean", "gaussian"])
def test_latents_begin_as_the_recipe_says(how):
    source = toys.source("generator")
    given = generator.random_generator(source.spec, toys.image_of(toys.task()), 3)
    generator.begin(source, given, torch.arange(3), how, toys.context(None, steps=0))
    features = source.maps.features.detach()
    noise = torch.randn(4096, 4, generator=torch.manual_seed(0))
    labels = torch.arange(4096) % 3
    many = generator.before(given.synthesis, given.mapping(noise, labels).detach(), source)
    latents = source.latents(torch.arange(len(source.classes)), None).detach()
    if how == "mean":
        styles = given.mapping(noise, labels)
        middle = styles[labels == 1].mean(0)
        torch.testing.assert_close(features[3], features[4])
        assert (source.styles[3, 0] - middle).abs().max() < 0.2
    else:
        assert not torch.equal(features[3], features[4])
        far = (latents - many.mean(0)).abs() / (many.std(0) + 1e-3)
        assert far.mean() < 1.5
    if how == "random":  # what one style gives, that of all layers
        styles = source.styles[:, :1].expand(-1, 4, -1)
        again, _ = given.synthesis.through(None, None, styles, 1)
        torch.testing.assert_close(features, again.detach())


def test_maps_begin_within_bounds_and_finite():
    source = toys.source("generator")
    given = generator.random_generator(source.spec, toys.image_of(toys.task()), 3)
    given.synthesis.const.mul_(1e30)
    given.synthesis.convs["0"].bias.add_(1e30)
    generator.begin(source, given, torch.arange(3), "random", toys.context(None, steps=0))
    assert source.maps.features.isfinite().all()
    assert source.maps.features.abs().max() <= 10


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source": {**SOURCE, "layer": 9}}, "layer is 9: a generator of 8 px has layers 0 to 3"),
        ({"warm_start": {"weights": "none.safetensors"}}, "does not exist: .*pretrain-generator"),
        ({"seed": 1, "warm_start": {"weights": "x"}}, "leave out one of them"),
        ({"warm_start": {"weights_sha256": "0" * 64}}, "give these"),
        ({**PIXELS, "warm_start": {"latents": "mean"}}, "has no maps that"),
        ({"optimizers": {"decoder": {"learning_rate": 1}}, "seed": 1}, "has none; it has maps"),
    ],
)
def test_what_cannot_begin_is_refused_before_anything_runs(changed, message, tmp_path):
    with pytest.raises(Exception, match=message):
        distill.run(recipe(**changed), out=tmp_path / "run", executor="inline")
    assert not (tmp_path / "run").exists()


def test_weights_of_other_images_are_refused(weights, tmp_path):
    for changed, message in (
        ({"task": {"name": "digits", "size": 16}}, "task.size of .* is 8, and .* 16"),
        ({"source": {**SOURCE, "network": {**NETWORK, "width": 5}}}, "source.network of"),
    ):
        with pytest.raises(RecipeError, match=message):
            run(tmp_path / "run", warm_start={"weights": str(weights)}, **changed)
    warm = {"weights": str(weights), "weights_sha256": "0" * 64}
    with pytest.raises(RecipeError, match="weights_sha256 is another"):
        run(tmp_path / "run", warm_start=warm)


def test_the_command_goes_on_and_says_what_a_recipe_needs(tmp_path):
    out = tmp_path / "g.safetensors"
    words = ["pretrain-generator", "digits", "--out", str(out), "--steps", "2"]
    words += ["--width", "4", "--base", "32", "--styles", "4"]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    assert generator_file.read(out).about.origin == "an autoencoder of digits"
    assert "sha256" in ended.output
