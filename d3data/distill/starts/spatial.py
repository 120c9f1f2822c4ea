"""Start small maps from real images.

An autoencoder is fitted to the task's images with the rounding and the noise of draws inside, and
its encoder dropped; each item is the map of a real image of its class.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d3data.artifact.quantize import Quantization
from d3data.distill.context import ObjectiveContext
from d3data.distill.engine import Setting
from d3data.distill.recipe import WarmStart
from d3data.distill.starts.autoencoder import AutoencoderStart
from d3data.distill.starts.perceptual import perceptual
from d3data.distill.starts.pixels import require_images
from d3data.distill.straight_through import through
from d3data.images import augment
from d3data.images.spec import Image
from d3data.sources.base import Source
from d3data.sources.spatial import SpatialSource, SubPixelDecoder, sizes
from d3data.utils import rng
from d3data.utils.device import to_device

CHUNK = 256  # images that are encoded at a time


class SpatialStart(AutoencoderStart):
    """An autoencoder's maps, or noise where the recipe's warm start has no steps."""

    def training(
        self, source: Source, setting: Setting, context: ObjectiveContext
    ) -> tuple["Autoencoder", Iterator[Tensor]]:
        assert isinstance(source, SpatialSource)
        config, stored = setting.recipe.warm_start, setting.recipe.quantization
        with rng.seeded(setting.seed, "autoencoder"):
            autoencoder = Autoencoder(source, stored, width=config.width)
        autoencoder.to(setting.device).to(memory_format=torch.channels_last)
        return autoencoder, losses(config, autoencoder, source, context)

    def begin(
        self, source: Source, autoencoder: nn.Module | None, context: ObjectiveContext
    ) -> None:
        assert isinstance(source, SpatialSource)
        if autoencoder is None:
            from_noise(source, context)
        else:
            assert isinstance(autoencoder, Autoencoder)
            fill(source, autoencoder, context)


class Autoencoder(nn.Module):
    """An encoder that halves an image as often as the source's decoder doubles its map."""

    spread: float
    stored: Quantization
    decoder: SubPixelDecoder
    encoder: nn.Sequential

    def __init__(self, source: SpatialSource, stored: Quantization, *, width: int) -> None:
        super().__init__()
        self.stored, self.spread = stored, source.spec.spread
        self.decoder = SubPixelDecoder(sizes(source.spec, source.image))
        _begin_at_mean(self.decoder, source.image)
        layers: list[nn.Module] = []
        before: int = source.image.channels
        for stage in range(source.spec.stages):
            after = width * min(2**stage, 8)
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(after), nn.LeakyReLU(0.01)]
            before = after
        layers += [nn.Conv2d(before, before, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(before), nn.LeakyReLU(0.01)]
        head = nn.Conv2d(before, source.spec.channels, 3, padding=1)
        self.encoder = nn.Sequential(*layers, head, nn.Tanh())

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """(B, C, H, W), (B, c g g) -> (B, C, H, W) in [-1, 1]: draws of their rounded maps."""
        maps = through("mean", self.encoder(images), self.stored)
        decoded: Tensor = self.decoder(maps + self.spread * noise.view_as(maps))
        return decoded


@torch.no_grad()
def _begin_at_mean(decoder: SubPixelDecoder, image: Image) -> None:
    """Let all images begin as the mean one: from grey, dark ones are left at black for good."""
    middle = 2 * torch.tensor(image.mean) - 1
    assert decoder.out.bias is not None
    decoder.out.bias.copy_(torch.atanh(middle.clamp(-0.9, 0.9)))
    decoder.out.weight.mul_(0.1)


def losses(
    config: WarmStart, autoencoder: Autoencoder, source: SpatialSource, context: ObjectiveContext
) -> Iterator[Tensor]:
    """The autoencoder's stream: squared error per value, and that of features."""
    change, seen = augment.augmentation(config.augment), perceptual(config, context)
    for step in context.step_range:
        random = context.rng("warm start", step)
        images, _ = context.task.train.batch(config.batch, rng=random)
        images = change(images, random)
        noise = torch.randn(len(images), source.latent_noise, generator=random)
        noise = to_device(noise, context.device)
        drawn = source.values(context.compute(_decoded, autoencoder, images, noise))
        yield F.mse_loss(drawn, images) + seen(drawn, images, random)


def _decoded(autoencoder: Autoencoder, images: Tensor, noise: Tensor) -> Tensor:
    decoded: Tensor = autoencoder(images, noise)
    return decoded


@torch.no_grad()
def fill(source: SpatialSource, autoencoder: Autoencoder, context: ObjectiveContext) -> None:
    """Give the source the decoder, and the map of a real image of its class to each item."""
    require_images(context.task, [*map(len, source.members)], of="maps")
    autoencoder.eval()
    random = context.rng("fill", 0)
    for label, items in enumerate(source.members):
        images, _ = context.task.train.batch(len(items), of=label, rng=random)
        pieces = [autoencoder.encoder(piece) for piece in images.split(CHUNK)]
        source.mean[items] = torch.cat(pieces).contiguous()
    source.decoder.load_state_dict(autoencoder.decoder.state_dict())


@torch.no_grad()
def from_noise(source: SpatialSource, context: ObjectiveContext) -> None:
    """Uniform maps and an untrained decoder."""
    random = context.rng("from noise", 0)
    source.mean.copy_(2 * torch.rand(source.mean.shape, generator=random) - 1)
    with rng.seeded(random.initial_seed(), "decoder"):
        decoder = SubPixelDecoder(sizes(source.spec, source.image))
    source.decoder.load_state_dict(decoder.state_dict())
