import pytest
import torch
from torch.distributions import Normal, kl_divergence

import toys
from d3data.distill.context import ObjectiveContext
from d3data.distill.starts import gaussian as warm_start
from d3data.errors import DataError
from d3data.nets.training import descend
from d3data.sources import registry
from d3data.sources.decoders import Decoder


def started(spec, *, steps=100, items=3, seed=0):
    task = toys.task()
    image = toys.image_of(task)
    classes = torch.arange(3).repeat_interleave(items)
    source = registry.blank(spec, image, classes=classes, step_size=0.01)
    config = warm_start.WarmStart(steps=steps, batch=32, kl=0.03, width=8)
    context = ObjectiveContext(task, seed=seed, steps=steps)
    torch.manual_seed(0)
    autoencoder = warm_start.Autoencoder(spec, image, width=8)
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=5e-3)
    stream = warm_start.losses(config, autoencoder, source, context)
    losses = []
    descend(stream, [optimizer], steps=steps, watch=lambda step, loss: losses.append(loss))
    warm_start.fill(source, autoencoder, context)
    return source, losses


def test_images_of_a_warm_start_are_nearer_to_their_class_than_noise():
    warm, losses = started(toys.SPECS["gaussian-residual"])
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    cold = toys.source("gaussian-residual")
    train = toys.task().train
    means = torch.stack(
        [train.read((train.labels == label).nonzero().flatten()).mean(0) for label in range(3)]
    )

    def distance(source):
        made = source.images(torch.arange(len(source.classes)), None).detach()
        return (made - means[source.classes]).square().mean().item()

    assert distance(warm) < 0.6 * distance(cold)


@pytest.mark.parametrize("kind", ["gaussian", "gaussian-residual", "gaussian-shared"])
def test_standard_deviations_have_the_shape_that_the_source_shares(kind):
    source, _ = started(toys.SPECS[kind], steps=2)
    rows = {"gaussian": (9, 4), "gaussian-residual": (3, 4), "gaussian-shared": (4,)}
    assert source.std.shape == rows[kind]
    assert (source.std > 0).all()


@pytest.mark.parametrize("kl", [0.0, 1.0])
def test_the_autoencoders_loss_is_its_formula(kl):
    image = toys.image_of(toys.task())
    source = toys.source("gaussian")
    torch.manual_seed(0)
    autoencoder = warm_start.Autoencoder(source.spec, image, width=8)
    context = ObjectiveContext(toys.task(), seed=0, steps=1)
    config = warm_start.WarmStart(batch=16, kl=kl, width=8)
    loss = next(warm_start.losses(config, autoencoder, source, context))
    rng = context.rng("warm start", 0)
    images = toys.task().train.batch(16, rng=rng)[0].double()
    mean, log_variance = autoencoder.double().posterior(images)
    posterior = Normal(mean, (log_variance / 2).exp())
    latents = mean + posterior.stddev * torch.randn(mean.shape, generator=rng)
    error = (source.values(autoencoder.decoder(latents)) - images).square().sum()
    divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum()
    expected = (error + kl * divergence) / images.numel()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("kind", ["gaussian", "medium"])
def test_each_folded_norm_gives_its_scale_and_shift_to_draws_of_the_priors(kind):
    source = toys.source(kind)
    torch.manual_seed(0)
    decoder = Decoder(source.decoder.sizes, norm=True)
    for norm in decoder.norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
        torch.nn.init.normal_(norm.bias)
    warm_start.settle(source, decoder, ObjectiveContext(toys.task(), seed=0, steps=0))
    maps = []
    for up in source.decoder.double().ups:
        up.register_forward_hook(lambda layer, given, made: maps.append(made.detach()))
    classes = source.classes
    counts = torch.bincount(classes)[classes]
    items = torch.arange(len(classes)).repeat_interleave(1200 // counts)  # 1200 a class
    noise = torch.randn(len(items), 4, dtype=torch.float64)
    source.decoder(source.mean[items] + source.spread(items) * noise)
    for made, norm in zip(maps, decoder.norms, strict=True):
        spread, center = made.std((0, 2, 3)), made.mean((0, 2, 3))
        torch.testing.assert_close(spread, norm.weight.detach().double(), atol=0, rtol=0.1)
        torch.testing.assert_close(center, norm.bias.detach().double(), atol=0.1, rtol=0)


def test_a_mixture_finds_clusters():
    rng = torch.Generator().manual_seed(0)
    centers = torch.tensor([[0.0, 0], [10, 0], [0, 10]])
    points = (centers[:, None] + torch.randn(3, 200, 2, generator=rng)).flatten(0, 1)
    found, variances = warm_start.mixture(points, 3, seed=0)
    nearest = torch.cdist(centers, found).min(1).values
    assert (nearest < 0.3).all()
    torch.testing.assert_close(variances, torch.ones(3, 2), atol=0.3, rtol=0)


def test_more_priors_than_images_are_refused():
    with pytest.raises(DataError, match=r"class '0' has \d+ training images for 400 priors"):
        started(toys.SPECS["gaussian"], steps=1, items=400)


def test_the_published_start_is_noise():
    source = toys.source("gaussian", items_per_class=400)
    assert abs(source.mean.mean().item()) < 0.05
    assert source.mean.std().item() == pytest.approx(1, abs=0.05)
    log_variance = 2 * source.std.log()
    assert log_variance.std().item() == pytest.approx(1, abs=0.05)
    drawn = source.images(torch.arange(600), torch.Generator().manual_seed(0))
    assert drawn.std() > 0.01
