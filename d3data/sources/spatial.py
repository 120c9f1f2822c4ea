"""Small maps that one decoder enlarges.

A latent is a map of a few channels, so it says where things are and the decoder, shared by all
classes, need not: most of its few weights draw edges and colors. Sub-pixel convolutions: Shi et
al. 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
Convolutional Neural Network", arXiv 1609.05158.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from d3data.errors import RecipeError
from d3data.images.spec import Image
from d3data.sources.base import Layout, Source, SourceSpec, Tensors
from d3data.sources.decoders import ValueRange, center, grown, leaky, narrowed
from d3data.utils.text import counted

MOST_LATENTS = 16384  # values of a latent


class SpatialSpec(SourceSpec):
    """Small maps (c, g, g), one decoder that enlarges them, and noise of a fixed width.

    `channels` is c; g is the image's size halved `stages` times, rounded up. The decoder's first
    map has `width` channels and goes through `blocks` residual convolutions. A draw's map is the
    item's plus `spread` times normal noise, where maps are distilled within [-1, 1]: at b bits a
    step of their rounding is 1 / (2^(b-1) - 1), a third at three bits.
    """

    kind: Literal["spatial"] = "spatial"
    channels: int = Field(default=4, ge=1, le=64)
    stages: int = Field(default=2, ge=1, le=8)
    width: int = Field(ge=1, le=4096)
    blocks: int = Field(default=1, ge=0, le=16)
    spread: float = Field(default=0.1, gt=0, le=4)

    reference: ClassVar[str] = "arXiv:2403.00999"
    purposes: ClassVar[frozenset[str]] = frozenset({"decoder", "priors"})
    random: ClassVar[bool] = True

    def layout(self, image: Image, *, items: int, classes: int) -> Layout:
        """The maps, `mean` (N, c, g, g), and the decoder."""
        shapes = {f"decoder.{name}": shape for name, shape in sizes(self, image).shapes().items()}
        return {"mean": (items, *sizes(self, image).latent), **shapes}

    def build(
        self, image: Image, *, classes: Tensor, step_size: Tensor, labels: Tensor | None
    ) -> "SpatialSource":
        """Maps and a decoder that are still to be filled in."""
        return SpatialSource(self, image, classes=classes, step_size=step_size, labels=labels)

    def with_noise(self, factor: float, tensors: Tensors) -> tuple["SpatialSpec", Tensors]:
        """`spread` times `factor`, and the same tensors."""
        values = {**self.model_dump(), "spread": factor * self.spread}
        return SpatialSpec.parse(values, where=f"noise {factor:g}"), tensors

    def describe(self, items: int, parts: int) -> str:
        """Such as `1,060 small maps, drawn with noise of 0.1, and a decoder`."""
        decoders = "a decoder" if parts == 1 else f"{parts:,} decoders"
        maps = counted(items, "small map")
        return f"{maps}, drawn with noise of {self.spread:g}, and {decoders}"


@dataclass(frozen=True)
class SpatialSizes:
    """The sizes that follow from a specification: all that its decoder is built from."""

    latent: tuple[int, int, int]
    channels: tuple[int, ...]
    blocks: int
    image: Image

    @property
    def largest_map(self) -> int:
        """The values of the largest map that one latent becomes."""
        side = self.latent[1]
        grown = max(c * (side << stage) ** 2 for stage, c in enumerate(self.channels))
        return max(grown, self.image.channels * (side << len(self.channels) - 1) ** 2)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the decoder's tensors."""
        width, last = self.channels[0], self.channels[-1]
        layers = {"first": (self.latent[0], width)}
        layers |= {f"blocks.{n}": (width, width) for n in range(self.blocks)}
        layers |= {f"steps.{n}": (a, 4 * b) for n, (a, b) in enumerate(pairwise(self.channels))}
        layers["out"] = (last, self.image.channels)
        shapes: dict[str, tuple[int, ...]] = {}
        for name, (before, after) in layers.items():
            shapes[f"{name}.weight"] = (after, before, 3, 3)
            shapes[f"{name}.bias"] = (after,)
        return shapes


def sizes(spec: SpatialSpec, image: Image) -> SpatialSizes:
    """The sizes of what `spec` stores for `image`.

    Raises:
        RecipeError: too many stages for the image, or latents that are too large.
    """
    side = grown(image.size, spec.stages, of="source.stages")
    latent = (spec.channels, side, side)
    if math.prod(latent) > MOST_LATENTS:
        raise RecipeError(
            f"source.channels is {spec.channels}: maps of {side}x{side} may have "
            f"{MOST_LATENTS:,} values, so at most {MOST_LATENTS // side**2} channels, or more "
            "stages"
        )
    return SpatialSizes(latent, narrowed(spec.width, spec.stages), spec.blocks, image)


class SubPixel(nn.Conv2d):
    """A sub-pixel convolution: (B, c, h, w) -> (B, c', 2h, 2w)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Compiled with the channels of a pixel next to each other, which loops take together."""
        if not torch.compiler.is_compiling():
            return F.pixel_shuffle(super().forward(maps), 2)
        assert self.bias is not None
        after = self.out_channels // 4
        weight = self.weight.unflatten(0, (after, 4)).transpose(0, 1).flatten(0, 1)
        bias = self.bias.view(after, 4).T.flatten()
        made = F.conv2d(maps, weight, bias, padding=1).permute(0, 2, 3, 1)  # (B, h, w, 4 c')
        pixels = made.unflatten(3, (2, 2, after)).transpose(2, 3)  # (B, h, 2, w, 2, c')
        doubled: Tensor = pixels.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
        return doubled


class SubPixelDecoder(nn.Module):
    """(B, c, g, g) -> (B, C, H, W) in [-1, 1]."""

    size: int
    first: nn.Conv2d
    blocks: nn.ModuleList
    steps: nn.ModuleList
    out: nn.Conv2d

    def __init__(self, sizes: SpatialSizes) -> None:
        super().__init__()
        width, last = sizes.channels[0], sizes.channels[-1]
        self.size = sizes.image.size
        self.first = nn.Conv2d(sizes.latent[0], width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1) for _ in range(sizes.blocks)
        )
        self.steps = nn.ModuleList(
            SubPixel(before, 4 * after, 3, padding=1) for before, after in pairwise(sizes.channels)
        )
        self.out = nn.Conv2d(last, sizes.image.channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Enlarge maps; what is larger than the image is cropped to its centre."""
        hidden = leaky(self.first(maps))
        for block in self.blocks:
            hidden = hidden + leaky(block(hidden))
        for step in self.steps:
            hidden = leaky(step(hidden))
        return center(torch.tanh(self.out(hidden)), self.size)


class SpatialSource(Source):
    """N maps (c, g, g) and one decoder; c g g noise values of a draw move its map."""

    spec: SpatialSpec
    image: Image
    decoder: SubPixelDecoder
    latent_shape: tuple[int, ...]
    latent_noise: int
    values_per_image: int
    values: ValueRange

    mean: nn.Parameter

    def __init__(
        self,
        spec: SpatialSpec,
        image: Image,
        *,
        classes: Tensor,
        step_size: Tensor,
        labels: Tensor | None = None,
    ) -> None:
        super().__init__(classes, labels, step_size)
        self.spec, self.image = spec, image
        own = sizes(spec, image)
        with torch.device("meta"):  # `registry.build` gives them their storage
            self.mean = nn.Parameter(torch.empty(len(classes), *own.latent))
            self.decoder = SubPixelDecoder(own)
        self.latent_shape, self.latent_noise = own.latent, math.prod(own.latent)
        self.values_per_image = own.largest_map
        self.values = ValueRange(image)

    def latents(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,) items, (B, c g g) -> (B, c, g, g): mean + spread * noise."""
        mean: Tensor = self.mean[items]
        return mean if noise is None else mean + self.spec.spread * noise.view_as(mean)

    def decode(self, latents: Tensor, white: Tensor | None = None) -> Tensor:
        """(B, c, g, g) -> (B, C, H, W)."""
        images: Tensor = self.values(self.decoder(latents))
        return images

    @torch.no_grad()
    def confine(self) -> None:
        """Keep maps within [-1, 1], so that one value does not widen all steps of rounding."""
        self.mean.clamp_(-1, 1)

    def compile_decoder(self) -> None:
        """Let torch.compile fuse the decoder."""
        self.decoder.compile()
