"""The decoders of D3, generalised to every image size.

Qin, Deng, Alvarez-Melis 2024, arXiv 2403.00999, and its published code. A latent becomes a small
map by a linear layer (`small`, `medium`) or by reshaping (`large`); each stage doubles the map by
a transposed convolution, normalises it and applies LeakyReLU; a 3x3 convolution and Tanh end it.

    family   transposed convolution           channels of the maps, divisors of the width
    small    4x4, stride 2, padding 1         1 2 4 8 8 8 ...
    medium   3x3, stride 2, padding 1, +1     1 2 4 8 16 ..., the last one twice
    large    as medium, without linear layer  as medium

Published: small at width 256 and noise 64; medium at 512 and 2048; large at 1024 and 4096.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from d3data.errors import RecipeError
from d3data.images.spec import Image
from d3data.utils.schema import Frozen


class DecoderSpec(Frozen):
    """A decoder out of the closed table of `d3data.sources.decoders`.

    `width` is the number of channels of its first map and `noise` the length Z of a latent.
    `stages` is how often the map is doubled; None doubles from 2x2, as published.
    """

    family: Literal["small", "medium", "large"]
    width: int = Field(ge=1, le=4096)
    noise: int = Field(ge=1, le=16384)
    stages: int | None = Field(default=None, ge=1, le=8)


@dataclass(frozen=True)
class DecoderSizes:
    """The sizes that follow from a specification: all that a decoder is built from."""

    kernel: int
    linear: bool
    base: int
    channels: tuple[int, ...]
    noise: int
    image: Image

    @property
    def stages(self) -> int:
        """How many transposed convolutions there are."""
        return len(self.channels) - 1

    @property
    def largest_map(self) -> int:
        """The values of the largest map that one latent becomes."""
        return max(c * (self.base << stage) ** 2 for stage, c in enumerate(self.channels))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the decoder's tensors, norms folded."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.linear:
            shapes["project.weight"] = (self.channels[0] * self.base**2, self.noise)
            shapes["project.bias"] = (self.channels[0] * self.base**2,)
        for stage, (before, after) in enumerate(self.steps()):
            shapes[f"ups.{stage}.weight"] = (before, after, self.kernel, self.kernel)
            shapes[f"ups.{stage}.bias"] = (after,)
        shapes["out.weight"] = (self.image.channels, self.channels[-1], 3, 3)
        shapes["out.bias"] = (self.image.channels,)
        return shapes

    def steps(self) -> list[tuple[int, int]]:
        """The channels before and after each stage."""
        return list(zip(self.channels, self.channels[1:], strict=False))

    def parameters(self) -> int:
        """The number of parameters as papers count it: with the norms' scales and shifts."""
        stored = sum(math.prod(shape) for shape in self.shapes().values())
        return stored + 2 * sum(self.channels[1:])


def sizes(spec: DecoderSpec, image: Image) -> DecoderSizes:
    """The sizes of the decoder `spec` for `image`.

    Raises:
        RecipeError: too many stages for the image, or a latent that `large` cannot reshape.
    """
    most = math.ceil(math.log2(image.size)) - 1
    stages = most if spec.stages is None else spec.stages
    if stages > most:
        raise RecipeError(f"decoder.stages is {stages}: {image.size} px allow at most {most}")
    base = math.ceil(image.size / 2**stages)
    if spec.family == "small":
        divisors = [min(2**stage, 8) for stage in range(stages + 1)]
    else:
        divisors = [2 ** min(stage, stages - 1) for stage in range(stages + 1)]
    channels = tuple(max(1, spec.width // divisor) for divisor in divisors)
    if spec.family == "large" and spec.noise != spec.width * base**2:
        raise RecipeError(
            f"decoder.noise is {spec.noise}: a large decoder of width {spec.width} reshapes its "
            f"latent to {base}x{base} maps, so it must be {spec.width * base**2}"
        )
    kernel = 4 if spec.family == "small" else 3
    return DecoderSizes(kernel, spec.family != "large", base, channels, spec.noise, image)


class Decoder(nn.Module):
    """(B, Z) -> (B, C, H, W) in [-1, 1].

    With `norm`, each stage has a batch norm, which a warm start trains; `folded` bakes its
    calibrated statistics into the weights, and that is what is distilled, stored and shipped.
    """

    def __init__(self, sizes: DecoderSizes, *, norm: bool) -> None:
        super().__init__()
        self.sizes = sizes
        area = sizes.base**2
        self.project = nn.Linear(sizes.noise, sizes.channels[0] * area) if sizes.linear else None
        extra = 1 if sizes.kernel == 3 else 0
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, sizes.kernel, 2, padding=1, output_padding=extra)
            for a, b in sizes.steps()
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(b) if norm else nn.Identity() for b in sizes.channels[1:]
        )
        self.out = nn.Conv2d(sizes.channels[-1], sizes.image.channels, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode latents; a map larger than the image is cropped to its centre."""
        hidden = latents if self.project is None else self.project(latents)
        hidden = hidden.unflatten(1, (self.sizes.channels[0], self.sizes.base, self.sizes.base))
        for up, norm in zip(self.ups, self.norms, strict=True):
            hidden = F.leaky_relu(norm(up(hidden)), 0.01, inplace=not torch.is_grad_enabled())
        size = self.sizes.image.size
        edge = (hidden.shape[-1] - size) // 2
        return torch.tanh(self.out(hidden))[..., edge : edge + size, edge : edge + size]

    @torch.no_grad()
    def calibrate(self, latents: Tensor) -> None:
        """Set the norms' statistics to those of one pass over `latents` (B, Z)."""
        norms = [norm for norm in self.norms if isinstance(norm, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        self.train()
        self(latents)
        self.eval()

    @torch.no_grad()
    def folded(self) -> "Decoder":
        """The same decoder without norms: w' = w g / s, b' = (b - m) g / s + shift."""
        plain = Decoder(self.sizes, norm=False).to(self.out.weight.device)
        kept = {k: v for k, v in self.state_dict().items() if not k.startswith("norms.")}
        plain.load_state_dict(kept)
        for up, norm in zip(plain.ups, self.norms, strict=True):
            assert isinstance(up, nn.ConvTranspose2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert up.bias is not None
            assert norm.running_var is not None
            assert norm.running_mean is not None
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            up.weight.mul_(scale[None, :, None, None])
            up.bias.copy_((up.bias - norm.running_mean) * scale + norm.bias)
        return plain
