"""Small maps start as those of real images, in as many bits as they will have."""

import pytest
import torch

import tiny_runs as runs
import toys
from d3data import artifact, distill
from d3data.artifact.quantize import Quantization
from d3data.distill.context import ObjectiveContext
from d3data.distill.recipe import WarmStart
from d3data.distill.starts import spatial
from d3data.errors import DataError, RecipeError
from d3data.images.spec import Image
from d3data.nets.training import descend
from d3data.sources import registry

STORED = Quantization(priors="int3")
CONFIG = WarmStart(batch=32, width=8)


def started(*, steps=0, items=3, spec=toys.SPECS["spatial"]):
    task = toys.task()
    classes = torch.arange(3).repeat_interleave(items)
    source = registry.blank(spec, toys.image_of(task), classes=classes, step_size=0.01)
    context = ObjectiveContext(task, seed=0, steps=steps)
    torch.manual_seed(0)
    return source, spatial.Autoencoder(source, STORED, width=8), context


def test_images_of_a_warm_start_are_those_that_its_maps_come_from():
    spec = toys.SPECS["spatial"].model_copy(update={"width": 16})
    source, autoencoder, context = started(steps=150, spec=spec)
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=5e-3)
    losses = []
    stream = spatial.losses(CONFIG, autoencoder, source, context)
    descend(stream, [optimizer], steps=150, watch=lambda _, loss: losses.append(loss))
    assert sum(losses[-10:]) < 0.4 * sum(losses[:10])
    spatial.fill(source, autoencoder, context)
    rng = context.rng("fill", 0)
    real = torch.cat([toys.task().train.batch(3, of=label, rng=rng)[0] for label in range(3)])
    images = source.images(torch.arange(9), None).detach()
    error = (images - real).square().mean()
    assert error < 0.5 * (images - real.roll(3, 0)).square().mean()
    assert source.mean.abs().max() <= 1


@pytest.mark.parametrize("mean", [0.01, 0.13, 0.5, 0.9])
def test_images_begin_as_the_mean_one_however_dark_it_is(mean):
    image = Image(channels=1, size=8, mean=(mean,), std=(0.3,))
    classes = torch.zeros(4, dtype=torch.int64)
    source = registry.blank(toys.SPECS["spatial"], image, classes=classes, step_size=0.01)
    torch.manual_seed(0)
    decoder = spatial.Autoencoder(source, STORED, width=8).decoder
    drawn = source.values(decoder(torch.rand(64, *source.latent_shape) * 2 - 1))
    assert drawn.mean().abs() < 0.2  # in standard deviations of real pixels
    assert drawn.std() < 0.2


def test_the_loss_is_the_error_of_draws_of_rounded_maps():
    source, autoencoder, context = started(steps=1)
    loss = next(spatial.losses(CONFIG, autoencoder, source, context))
    rng = context.rng("warm start", 0)
    images = toys.task().train.batch(32, rng=rng)[0]
    maps = autoencoder.encoder(images)
    scale = (maps.abs().amax((0, 2, 3), keepdim=True) / 3).half().float()
    noise = torch.randn(32, source.noise_values, generator=rng).view_as(maps)
    drawn = autoencoder.decoder((maps / scale).round() * scale + 0.1 * noise)
    expected = (source.values(drawn) - images).square().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in autoencoder.encoder.parameters())


def test_features_of_an_expert_are_matched_too(tmp_path):
    experts = toys.experts(tmp_path)
    source, autoencoder, _ = started()
    context = toys.context(experts, steps=1)
    rng = context.rng("warm start", 0)
    images, _ = toys.task().train.batch(32, rng=rng)
    noise = torch.randn(32, source.noise_values, generator=rng)
    drawn = source.values(autoencoder(images, noise))
    chosen = int(torch.randint(len(experts), (), generator=rng))
    network = experts.trained(chosen, toys.PLAN.epochs)
    gap = (network.features(drawn) - network.features(images)).square().mean()
    config = CONFIG.model_copy(update={"perceptual": 0.5})
    (loss,) = spatial.losses(config, autoencoder, source, context)
    expected = (drawn - images).square().mean() + 0.5 * gap
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_features_need_experts(tmp_path):
    warm = {"steps": 2, "batch": 16, "width": 4, "perceptual": 0.1}
    recipe = runs.recipe(warm_start=warm, objective=runs.MTT)
    assert distill.run(recipe, out=tmp_path / "run", executor="inline").exists()
    with pytest.raises(RecipeError, match="no objective has experts"):
        distill.run(runs.recipe(warm_start=warm), out=tmp_path / "other", executor="inline")


def test_recipes_without_what_came_later_keep_their_identity():
    plain = runs.recipe(objective=runs.MTT)
    assert "perceptual" not in plain.dump()["warm_start"]
    changed = runs.recipe(objective=runs.MTT, warm_start={"perceptual": 0.1})
    assert changed.dump()["warm_start"]["perceptual"] == 0.1
    assert distill.Recipe.parse(changed.dump(), where="again") == changed


def test_a_class_needs_as_many_images_as_it_has_maps():
    source, autoencoder, context = started(items=400)
    with pytest.raises(DataError, match=r"for 400 maps: lower items_per_class"):
        spatial.fill(source, autoencoder, context)


@pytest.mark.parametrize("steps", [0, 4])
def test_a_run_keeps_maps_within_their_range(steps, tmp_path):
    fast = {"priors": {"learning_rate": 1.0}, "decoder": {"learning_rate": 0.01}}
    recipe = runs.recipe(
        source={"kind": "spatial", "channels": 2, "stages": 1, "width": 4},
        optimizers=fast,
        warm_start={"steps": steps, "batch": 16, "width": 4},
        quantize={"priors": "int3", "decoder": "int8", "steps": 3},
    )
    made = artifact.read(distill.run(recipe, out=tmp_path, executor="inline"))
    made.check(), made.check_golden()
    (source,) = made.sources()
    assert 0.9 < source.mean.abs().max() <= 1
    assert len(source.mean.unique()) <= 7 * 2
