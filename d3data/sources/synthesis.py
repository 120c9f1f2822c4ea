"""The synthesis network of StyleGAN2, which may be cut before any of its layers.

Karras, Laine, Aittala, Hellsten, Lehtinen, Aila 2020, "Analyzing and Improving the Image Quality
of StyleGAN", arXiv 1912.04958: a constant map goes through 3x3 convolutions, the first at each
size but the smallest doubling the map; each is modulated by a style and demodulated. At each size
a 1x1 convolution adds to an image that is doubled as the map is. Inputs of noise are left out,
and factors that are constant are folded into the weights.

    layers n of S + 1 sizes    map before it                   convolution    image so far
    0                          the constant                    same size      none
    2s - 1,  s = 1 ... S       of size s - 1                   doubles        of size s - 1
    2s                         of size s                       same size      of size s - 1
    2S + 1, the pixels         none                            none           the whole

Legend: N items, B batch, L layers from the cut on and their styles, D length of a style.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from d3data.errors import RecipeError
from d3data.images.spec import Image
from d3data.sources import sampling
from d3data.sources.decoders import center
from d3data.utils.schema import Frozen

TAPS = (1.0, 3.0, 3.0, 1.0)  # of the filter that smooths what is doubled
SMALL = 1e-8  # added to what is divided by
Shapes = dict[str, tuple[int, ...]]


class SynthesisSpec(Frozen):
    """A synthesis network out of the closed table of `d3data.sources.synthesis`.

    Maps have `base` / side channels, but `width` at most; `styles` is D. Published: base 32768,
    or 16384, width 512 and styles 512.
    """

    family: Literal["stylegan2"] = "stylegan2"
    width: int = Field(ge=1, le=512)
    base: int = Field(default=32768, ge=4, le=65536)
    styles: int = Field(ge=1, le=512)


@dataclass(frozen=True)
class SynthesisSizes:
    """The sizes that follow from a specification: all that a network is built from."""

    base: int
    channels: tuple[int, ...]
    styles: int
    image: Image

    @property
    def pixels(self) -> int:
        """The number of the last layer, that of pixels."""
        return 2 * len(self.channels) - 1

    @property
    def largest_map(self) -> int:
        """The values of the largest map that one item becomes."""
        return max(c * ((self.base << s) + 1) ** 2 for s, c in enumerate(self.channels))

    def cut(self, layer: int) -> Shapes:
        """Shapes of what goes into `layer`: the map `features`, the `image` so far, `styles`.

        RecipeError where there is no such layer.
        """
        if layer > self.pixels:
            raise RecipeError(
                f"layer is {layer}: a generator of {self.image.size} px has layers 0 to "
                f"{self.pixels}, of which {self.pixels} are the pixels"
            )
        colors, size, found = self.image.channels, self.image.size, Shapes()
        if layer == self.pixels:
            return {"image": (colors, size, size)}
        if layer:
            stage = layer // 2
            found["features"] = (self.channels[stage], *2 * (self.base << stage,))
            found["image"] = (colors, *2 * (self.base << (layer - 1) // 2,))
        return {**found, "styles": (self.pixels + 1 - layer, self.styles)}

    def shapes(self, layer: int = 0) -> Shapes:
        """Names and shapes of the weights from `layer` on."""
        found: Shapes = {} if layer else {"const": (self.channels[0], self.base, self.base)}
        for n in range(layer, self.pixels):
            before, after = self.channels[n // 2], self.channels[(n + 1) // 2]
            found |= self._layer(f"convs.{n}", before, after, 3)
        for stage in range((layer + 1) // 2, len(self.channels)):
            found |= self._layer(f"rgbs.{stage}", self.channels[stage], self.image.channels, 1)
        return found

    def _layer(self, name: str, before: int, after: int, kernel: int) -> Shapes:
        return {
            f"{name}.affine.weight": (before, self.styles),
            f"{name}.affine.bias": (before,),
            f"{name}.weight": (after, before, kernel, kernel),
            f"{name}.bias": (after,),
        }


def sizes(spec: SynthesisSpec, image: Image) -> SynthesisSizes:
    """The sizes of the network `spec` for `image`: 4x4 is doubled, 3x3 where that fits better."""
    stages = math.ceil(math.log2(image.size)) - 2
    channels = (max(1, min(spec.base // (4 << s), spec.width)) for s in range(stages + 1))
    return SynthesisSizes(-(-image.size // (1 << stages)), (*channels,), spec.styles, image)


def random_weights(sizes: SynthesisSizes, seed: int) -> dict[str, Tensor]:
    """All weights of a network, made of a seed alone, within one float32 ulp on every machine.

    They are normal over the square root of what is added up, demodulated ones plainly normal, so
    that maps and images of normal styles have variances near 1 and 1/4; biases are 0, those of
    styles 1.
    """
    found = {}
    for number, (name, shape) in enumerate(sorted(sizes.shapes().items())):
        if name.endswith("bias"):
            found[name] = torch.full(shape, float("affine" in name))
            continue
        values = sampling.noise(seed, number, 0, values=math.prod(shape))
        scale = 1.0
        if "affine" in name:
            scale = shape[1] ** -0.5
        elif name.startswith("rgbs"):
            scale = 0.5 * (shape[1] * len(sizes.channels)) ** -0.5
        found[name] = torch.from_numpy(values * np.float32(scale)).reshape(shape)
    return found


class Synthesis(nn.Module):
    """What follows the cut before `layer`: features, image and styles -> (B, C, H, W).

    About -1 is black and +1 is white.
    """

    const: nn.Parameter | None
    sizes: SynthesisSizes

    def __init__(self, sizes: SynthesisSizes, layer: int = 0) -> None:
        super().__init__()
        self.sizes, self.layer = sizes, layer
        self.convs, self.rgbs = nn.ModuleDict(), nn.ModuleDict()
        shapes = sizes.shapes(layer)
        self.const = nn.Parameter(torch.empty(shapes["const"])) if "const" in shapes else None
        for name, shape in shapes.items():
            table, number, *rest = f"{name}.".split(".")
            if rest == ["weight", ""]:
                doubles = table == "convs" and int(number) % 2 == 1
                layers = self.convs if table == "convs" else self.rgbs
                layers[number] = Modulated(shape, sizes.styles, doubles=doubles)

    def forward(
        self, features: Tensor | None, image: Tensor | None, styles: Tensor | None
    ) -> Tensor:
        """(B, c, h, h), (B, C, h', h') and (B, L, D), as `SynthesisSizes.cut` has them."""
        _, image = self.through(features, image, styles, self.sizes.pixels)
        assert image is not None
        return center(image, self.sizes.image.size)

    def through(
        self, features: Tensor | None, image: Tensor | None, styles: Tensor | None, end: int
    ) -> tuple[Tensor | None, Tensor | None]:
        """The map and the image before layer `end`."""
        if self.const is not None and features is None and styles is not None:
            features = self.const.expand(len(styles), *self.const.shape)
        for n in range(self.layer, end):
            assert styles is not None
            features = self.convs[str(n)](features, styles[:, n - self.layer])
            features = F.leaky_relu(features, 0.2) * math.sqrt(2)
            if n % 2 == 0:
                added = self.rgbs[str(n // 2)](features, styles[:, n + 1 - self.layer])
                image = added if image is None else doubled(image) + added
        return (features if end < self.sizes.pixels else None), image


class Modulated(nn.Module):
    """A convolution whose input channels are scaled by a style; 3x3 ones are demodulated."""

    affine: nn.Linear
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, shape: tuple[int, ...], styles: int, *, doubles: bool) -> None:
        super().__init__()
        self.doubles = doubles
        self.affine = nn.Linear(styles, shape[1])
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(shape[0]))

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        """(B, c, h, h), (B, D) -> (B, c', h, h), or twice as large."""
        scale = self.affine(style)
        scaled = maps * scale[:, :, None, None]
        if self.doubles:
            made = F.conv_transpose2d(scaled, self.weight.transpose(0, 1), stride=2)
            made = smoothed(made)
        else:
            made = F.conv2d(scaled, self.weight, padding=self.weight.shape[-1] // 2)
        if self.weight.shape[-1] == 3:
            power = scale.square() @ self.weight.square().sum((2, 3)).T
            made = made * (power + SMALL).rsqrt()[:, :, None, None]
        return made + self.bias[:, None, None]


def smoothed(maps: Tensor) -> Tensor:
    """(B, c, h, w) -> (B, c, h - 1, w - 1): through the filter, twice as strong in each axis."""
    taps = torch.tensor(TAPS, dtype=maps.dtype, device=maps.device) / 4
    flat = maps.flatten(0, 1)[:, None]
    flat = F.conv2d(flat, taps.view(1, 1, 4, 1), padding=(1, 0))
    flat = F.conv2d(flat, taps.view(1, 1, 1, 4), padding=(0, 1))
    return flat.view(*maps.shape[:2], *flat.shape[2:])


def doubled(image: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, 2h, 2w)."""
    taps = torch.tensor(TAPS, dtype=image.dtype, device=image.device) / 4
    kernel = (taps[:, None] * taps)[None, None]
    flat = F.conv_transpose2d(image.flatten(0, 1)[:, None], kernel, stride=2, padding=1)
    return flat.view(*image.shape[:2], *flat.shape[2:])


def freeze(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Make buffers of the parameters of a network, which no state dict has, and fill them."""
    for name, _ in [*network.named_parameters()]:
        place, _, leaf = name.rpartition(".")
        module = network.get_submodule(place)
        delattr(module, leaf)
        module.register_buffer(leaf, weights[name], persistent=False)
