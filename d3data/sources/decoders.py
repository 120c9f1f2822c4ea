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
    stages = most_stages(image.size) if spec.stages is None else spec.stages
    base = grown(image.size, stages, of="decoder.stages")
    if spec.family == "small":
        channels = tuple(max(1, spec.width // min(2**n, 8)) for n in range(stages + 1))
    else:
        channels = narrowed(spec.width, stages)
    if spec.family == "large" and spec.noise != spec.width * base**2:
        raise RecipeError(
            f"decoder.noise is {spec.noise}: a large decoder of width {spec.width} reshapes its "
            f"latent to {base}x{base} maps, so it must be {spec.width * base**2}"
        )
    kernel = 4 if spec.family == "small" else 3
    return DecoderSizes(kernel, spec.family != "large", base, channels, spec.noise, image)


def most_stages(size: int) -> int:
    """How often a map may be doubled to images of `size`: from 2x2 on."""
    return math.ceil(math.log2(size)) - 1


def grown(size: int, stages: int, *, of: str) -> int:
    """The side of the map that becomes `size` when it is doubled `stages` times and cropped.

    RecipeError, which names the key `of` the recipe, where that is too often.
    """
    if stages > most_stages(size):
        raise RecipeError(f"{of} is {stages}: {size} px allow at most {most_stages(size)}")
    return -(-size // (1 << stages))


def narrowed(width: int, stages: int) -> tuple[int, ...]:
    """The channels before and after each stage: halved at each, but the last one keeps them."""
    return tuple(max(1, width // 2 ** min(stage, stages - 1)) for stage in range(stages + 1))


def center(images: Tensor, size: int) -> Tensor:
    """The centre of (B, C, H, W), `size` pixels high and wide."""
    edge = (images.shape[-1] - size) // 2
    return images[..., edge : edge + size, edge : edge + size]


def leaky(maps: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.01.

    Compiled without a comparison: torch.compile stores its mask for the gradient value by value.
    """
    if torch.compiler.is_compiling():
        return 0.505 * maps + 0.495 * maps.abs()
    return F.leaky_relu(maps, 0.01, inplace=not torch.is_grad_enabled())


class ValueRange(nn.Module):
    """What a decoder's output in [-1, 1] stands for, as normalized values.

    -1 is black and +1 is white; or, where they are `normalized` already, they are -1 and +1.
    """

    low: Tensor
    half_span: Tensor

    def __init__(self, image: Image, *, normalized: bool = False) -> None:
        super().__init__()
        mean, std = torch.tensor([image.mean, image.std])[..., None, None]
        low, span = torch.tensor([-1.0, 2.0]) if normalized else (-mean / std, 1 / std)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("half_span", span / 2, persistent=False)

    def forward(self, decoded: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        decoded = decoded.to(self.low.dtype, memory_format=torch.contiguous_format)
        return (decoded + 1).mul_(self.half_span).add_(self.low)


class Decoder(nn.Module):
    """(B, Z) -> (B, C, H, W) in [-1, 1].

    With `norm`, each stage has a batch norm, which a warm start trains; `folded` bakes its
    calibrated statistics into the weights, and that is what is distilled, stored and shipped.
    """

    project: nn.Linear | None
    ups: nn.ModuleList
    norms: nn.ModuleList
    out: nn.Conv2d

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
            hidden = leaky(norm(up(hidden)))
        return center(torch.tanh(self.out(hidden)), self.sizes.image.size)

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
