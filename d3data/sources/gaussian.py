"""Gaussian latent priors and a decoder.

Qin, Deng, Alvarez-Melis 2024, "Distributional Dataset Distillation with Subtask Decomposition",
arXiv 2403.00999. An image is decoder(mean + std * noise), drawn anew each time.
"""

import torch
from torch import Tensor, nn

from d3data.images.spec import Image
from d3data.sources.base import Source
from d3data.sources.decoders import Decoder, plan
from d3data.sources.residual import Residual
from d3data.sources.specs import GaussianSpec


class GaussianSource(Source):
    """N priors over latents of length Z, one decoder, and a residual field if asked for.

    Noise is (Z,) a draw, or (Z + C H W,) with a residual, whose white values follow the latent's.
    D3 learns log-variances; here the standard deviation itself is learned, its sign without
    meaning, since it is what an artifact stores.
    """

    low: Tensor
    span: Tensor
    rows: Tensor

    def __init__(
        self,
        spec: GaussianSpec,
        image: Image,
        *,
        classes: Tensor,
        step_size: Tensor,
        labels: Tensor | None = None,
    ) -> None:
        super().__init__(classes, labels, step_size)
        self.spec, self.image = spec, image
        latents = spec.decoder.noise
        kinds, rows = torch.unique(self.classes, return_inverse=True)
        self.register_buffer("rows", rows, persistent=False)
        shapes = {"item": (len(classes),), "class": (len(kinds),), "shared": ()}
        with torch.device("meta"):  # `parts.build` gives them their storage
            self.mean = nn.Parameter(torch.empty(len(classes), latents))
            self.std = nn.Parameter(torch.empty(*shapes[spec.std], latents))
            self.decoder = Decoder(plan(spec.decoder, image), norm=False)
        self.residual = Residual(image) if spec.residual else None
        self.latent_values = latents
        self.noise_shape = (latents + (image.values if spec.residual else 0),)
        low, span = _range(spec, image)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("span", span, persistent=False)

    def images(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,) items, (B, *noise_shape) -> (B, C, H, W); without noise the mean's image."""
        if noise is None:
            return self.decode(self.latents(items, None))
        latents = self.latents(items, noise[:, : self.latent_values])
        return self.decode(latents, noise[:, self.latent_values :])

    def latents(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,) items, (B, Z) -> (B, Z): mean + std * noise."""
        mean: Tensor = self.mean[items]
        return mean if noise is None else mean + self.spread(items) * noise

    def render(self, items: Tensor, latents: Tensor, white: Tensor | None) -> Tensor:
        """(B, Z) latents, (B, C H W) white values or None -> (B, C, H, W); latents say it all."""
        return self.decode(latents, white)

    def decode(self, latents: Tensor, white: Tensor | None = None) -> Tensor:
        """(B, Z) -> (B, C, H, W) normalised values, with the residual of white values if given."""
        decoded = self.decoder(latents).to(self.low.dtype, memory_format=torch.contiguous_format)
        images = self.values(decoded)
        if self.residual is None or white is None:
            return images
        field: Tensor = self.residual(white.view_as(images))
        return images + field

    def values(self, decoded: Tensor) -> Tensor:
        """The normalised values that a decoder's output in [-1, 1] stands for."""
        return (decoded + 1).mul_(self.span / 2).add_(self.low)

    def spread(self, items: Tensor) -> Tensor:
        """The standard deviations of items: (B, Z), or (Z,) where all share one."""
        std = self.std.abs()
        if self.spec.std == "shared":
            return std
        return std[items if self.spec.std == "item" else self.rows[items]]


def _range(spec: GaussianSpec, image: Image) -> tuple[Tensor, Tensor]:
    """The normalised values (C, 1, 1) that Tanh's -1 stands for, and how far it is to +1."""
    if spec.values == "normalised":
        return torch.tensor(-1.0), torch.tensor(2.0)
    mean, std = torch.tensor([image.mean, image.std])[..., None, None]
    return -mean / std, 1 / std
