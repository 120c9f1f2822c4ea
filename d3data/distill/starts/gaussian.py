"""Start a Gaussian source from real images instead of noise.

A small variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114) is fitted to the task's
images and its encoder dropped; a diagonal Gaussian mixture of each class's posterior means gives
the priors; the decoder's norms are calibrated on draws of them and folded; the residual gets the
power that the draws lack.
"""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d3data.distill.context import ObjectiveContext
from d3data.distill.engine import Setting
from d3data.distill.objectives.base import sample_items, sample_real
from d3data.distill.recipe import WarmStart
from d3data.distill.starts.autoencoder import AutoencoderStart
from d3data.distill.starts.perceptual import perceptual
from d3data.distill.starts.pixels import require_images
from d3data.images import augment
from d3data.images.spec import Image
from d3data.sources import residual
from d3data.sources.base import Source
from d3data.sources.decoders import Decoder, sizes
from d3data.sources.gaussian import GaussianSource, GaussianSpec
from d3data.utils import rng
from d3data.utils.device import to_device

SEEN = 4096  # images of a class at most that its mixture is fitted to
SETTLE = 2048  # draws that norms and the residual's spectrum are fitted to, or
SETTLE_VALUES = 2**23  # as many as have so many values, and one of each class at least
CHUNK = 256  # images that are encoded or decoded at a time
FLOOR = 1e-3  # variance of a prior at least


class GaussianStart(AutoencoderStart):
    """An autoencoder's latents, or noise where the recipe's warm start has no steps."""

    def training(
        self, source: Source, setting: Setting, context: ObjectiveContext
    ) -> tuple["Autoencoder", Iterator[Tensor]]:
        assert isinstance(source, GaussianSource)
        config = setting.recipe.warm_start
        with rng.seeded(setting.seed, "autoencoder"):
            autoencoder = Autoencoder(source.spec, source.image, width=config.width)
        autoencoder.to(setting.device)
        return autoencoder, losses(config, autoencoder, source, context)

    def begin(
        self, source: Source, autoencoder: nn.Module | None, context: ObjectiveContext
    ) -> None:
        assert isinstance(source, GaussianSource)
        if autoencoder is None:
            from_noise(source, context)
        else:
            assert isinstance(autoencoder, Autoencoder)
            fill(source, autoencoder, context)


class Autoencoder(nn.Module):
    """An encoder of stride-2 convolutions and the source's decoder with norms."""

    decoder: Decoder
    encoder: nn.Sequential

    def __init__(self, spec: GaussianSpec, image: Image, *, width: int) -> None:
        super().__init__()
        self.decoder = Decoder(sizes(spec.decoder, image), norm=True)
        layers: list[nn.Module] = []
        channels: int = image.channels
        size = image.size
        while size > 4:
            after = min(8 * width, 2 * channels if layers else width)
            layers += [
                nn.Conv2d(channels, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.01),
            ]
            channels, size = after, -(-size // 2)
        head = nn.Linear(channels * size**2, 2 * spec.decoder.noise)
        self.encoder = nn.Sequential(*layers, nn.Flatten(), head)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> means and log-variances, (B, Z) each."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance


def losses(
    config: WarmStart, autoencoder: Autoencoder, source: GaussianSource, context: ObjectiveContext
) -> Iterator[Tensor]:
    """The autoencoder's stream: squared error plus weighted divergence, per value."""
    change, seen = augment.augmentation(config.augment), perceptual(config, context)
    for step in context.step_range:
        random = context.rng("warm start", step)
        images, _ = context.task.train.batch(config.batch, rng=random)
        images = change(images, random)
        noise = torch.randn(len(images), source.latent_noise, generator=random)
        noise = to_device(noise, context.device)
        decoded, mean, log_variance = context.compute(_through, autoencoder, images, noise)
        decoded = source.values(decoded)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        error = F.mse_loss(decoded, images) + seen(decoded, images, random)
        yield error + config.kl * divergence / source.image.values


def _through(
    autoencoder: Autoencoder, images: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Images, (B, Z) noise -> decoded draws of their posteriors; these' means, log-variances."""
    mean, log_variance = autoencoder.posterior(images)
    return autoencoder.decoder(mean + (0.5 * log_variance).exp() * noise), mean, log_variance


@torch.no_grad()
def fill(source: GaussianSource, autoencoder: Autoencoder, context: ObjectiveContext) -> None:
    """Turn a fitted autoencoder into the source's priors, folded decoder and residual."""
    require_images(context.task, [*map(len, source.members)], of="priors")
    autoencoder.eval()
    random = context.rng("fill", 0)
    variances = torch.ones_like(source.mean)
    train = context.task.train
    for label, items in enumerate(source.members):
        members = (train.labels == label).nonzero().flatten()
        seen = members[torch.randperm(len(members), generator=random)[:SEEN]]
        images = (train.read(chunk) for chunk in seen.split(CHUNK))
        points = torch.cat([autoencoder.posterior(chunk)[0] for chunk in images])
        seed = rng.derive(random.initial_seed(), label) % 2**31
        source.mean[items], variances[items] = mixture(points, len(items), seed)
    source.std.copy_(_shared(source, variances).sqrt())
    settle(source, autoencoder.decoder, context)


@torch.no_grad()
def from_noise(source: GaussianSource, context: ObjectiveContext) -> None:
    """The published start: priors from N(0, 1) and an untrained decoder."""
    random = context.rng("from noise", 0)
    source.mean.copy_(torch.randn(source.mean.shape, generator=random))
    source.std.copy_(torch.randn(source.std.shape, generator=random).mul(0.5).exp())
    with rng.seeded(random.initial_seed(), "decoder"):
        decoder = Decoder(source.decoder.sizes, norm=True)
    settle(source, decoder.to(context.device), context)


@torch.no_grad()
def settle(source: GaussianSource, decoder: Decoder, context: ObjectiveContext) -> None:
    """Freeze the decoder's norms on draws of the priors, fold them, and fit the residual."""
    random = context.rng("settle", 0)
    draws = max(1, min(SETTLE, SETTLE_VALUES // source.image.values))
    items = sample_items(source, -(-draws // len(context.task.classes)), random)
    noise = torch.randn(items.numel(), source.mean.shape[1], generator=random).to(source.mean)
    chosen = items.flatten().to(context.device)
    latents = source.mean[chosen] + source.spread(chosen) * noise
    decoder.calibrate(latents)
    source.decoder.load_state_dict(decoder.folded().state_dict())
    if source.residual is not None:
        real = sample_real(context, items.shape[1], random).flatten(0, 1)
        drawn = torch.cat([source.decode(chunk) for chunk in latents.split(CHUNK)])
        residual.fit(source.residual, real.cpu(), drawn.cpu())


def mixture(points: Tensor, components: int, seed: int) -> tuple[Tensor, Tensor]:
    """A diagonal Gaussian mixture of (M, Z) points: centres and variances, (components, Z).

    Where each point has a component of its own, the points are the centres.
    """
    if len(points) == components:
        return points, torch.full_like(points, FLOOR)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    model = GaussianMixture(
        components, covariance_type="diag", random_state=seed, reg_covar=FLOOR, max_iter=50
    )
    with warnings.catch_warnings(), threadpool_limits(1):  # one thread adds in one order
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(points.cpu().double().numpy())
    centers, variances = torch.tensor(model.means_), torch.tensor(model.covariances_)
    return centers.to(points), variances.to(points)


def _shared(source: GaussianSource, variances: Tensor) -> Tensor:
    """Variances of items (N, Z) averaged over what shares one: (N, Z), (K, Z) or (Z,)."""
    if source.spec.std == "item":
        return variances
    if source.spec.std == "shared":
        return variances.mean(0)
    return torch.stack([variances[source.rows == row].mean(0) for row in source.rows.unique()])
