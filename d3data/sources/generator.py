"""Latents of a generator, cut before any of its layers (GLaD).

Cazenavette, Wang, Torralba, Efros, Zhu 2023, "Generalizing Dataset Distillation via Deep
Generative Prior", arXiv 2305.01649: distilled are the map that goes into a layer and the styles of
all layers from there on. Before layer 0 these are styles alone; before the last, the pixels.
"""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from d3data.images.spec import Image
from d3data.sources.base import Layout, Source, SourceSpec, Tensors
from d3data.sources.decoders import ValueRange
from d3data.sources.synthesis import Synthesis, SynthesisSpec, freeze, random_weights, sizes

AT_ONCE = 1 << 22  # values of maps that are made at a time with a graph, on a CPU
AT_ONCE_ON_DEVICE = 1 << 26


class GeneratorSpec(SourceSpec):
    """Latents of a generator that is cut before `layer`; its weights are not distilled.

    With a `seed` they are random, made of it alone, and nothing of them is stored; without, the
    layers from the cut on are.
    """

    kind: Literal["generator"] = "generator"
    network: SynthesisSpec
    layer: int = Field(ge=0, le=15)
    seed: int | None = Field(default=None, ge=0, lt=2**53)

    reference: ClassVar[str] = "arXiv:2305.01649"
    purposes: ClassVar[frozenset[str]] = frozenset({"decoder", "maps", "styles"})
    format: ClassVar[int] = 2

    def layout(self, image: Image, *, items: int, classes: int) -> Layout:
        """What goes into the layer, and the weights that follow, unless a seed makes them."""
        own = sizes(self.network, image)
        shapes = {PLACES[name]: (items, *shape) for name, shape in own.cut(self.layer).items()}
        if self.seed is None:
            shapes |= {f"decoder.{name}": one for name, one in own.shapes(self.layer).items()}
        return shapes

    def build(
        self, image: Image, *, classes: Tensor, step_size: Tensor, labels: Tensor | None
    ) -> "GeneratorSource":
        """Latents, and weights if these are stored, that are still to be filled in."""
        return GeneratorSource(self, image, classes=classes, step_size=step_size, labels=labels)

    def renormalized(self, tensors: Tensors, old: Image, new: Image) -> Tensors:
        """The same tensors: a generator spans black to white."""
        return tensors

    def describe(self, items: int, parts: int) -> str:
        """Such as `10 latents of a random generator, cut before layer 3`."""
        of = "a random generator" if self.seed is not None else "a generator"
        of = of if parts == 1 or self.seed is not None else f"{parts:,} generators"
        return f"{items:,} latent{'s' * (items != 1)} of {of}, cut before layer {self.layer}"


PLACES = {"features": "maps.features", "image": "maps.image", "styles": "styles"}


class Maps(nn.Module):
    """The map and the image that go into a layer, where there are some."""

    features: nn.Parameter | None
    image: nn.Parameter | None

    def __init__(self, features: nn.Parameter | None, image: nn.Parameter | None) -> None:
        super().__init__()
        self.features, self.image = features, image


class GeneratorSource(Source):
    """N items: a map (c, h, h), an image (C, h', h') and L styles (L, D) each, flat as a latent.

    Images are made without a graph. Where gradients pass, they are made again, a few at a time,
    with a graph of these few alone: so what an objective does with them, however many steps it
    unrolls, and the generator never need memory at the same time.
    """

    spec: GeneratorSpec
    image: Image
    maps: Maps
    styles: nn.Parameter | None
    decoder: Synthesis
    latent_shape: tuple[int, ...]
    values_per_image: int
    values: ValueRange

    def __init__(
        self,
        spec: GeneratorSpec,
        image: Image,
        *,
        classes: Tensor,
        step_size: Tensor,
        labels: Tensor | None = None,
    ) -> None:
        super().__init__(classes, labels, step_size)
        self.spec, self.image = spec, image
        own = sizes(spec.network, image)
        self.cut = own.cut(spec.layer)
        with torch.device("meta"):  # `registry.build` gives them their storage
            made = {
                name: nn.Parameter(torch.empty(len(classes), *shape))
                for name, shape in self.cut.items()
            }
            self.maps = Maps(made.get("features"), made.get("image"))
            self.styles = made.get("styles")
            self.decoder = Synthesis(own, spec.layer)
        if spec.seed is not None:
            freeze(self.decoder, generated(spec.network, image, spec.seed))
        self._lengths = [torch.Size(shape).numel() for shape in self.cut.values()]
        self.latent_shape = (sum(self._lengths),)
        self.values_per_image = own.largest_map
        self.values = ValueRange(image)

    def latents(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,) -> (B, V): map, image so far and styles, flat and one behind the other."""
        return torch.cat([self._latent(name)[items].flatten(1) for name in self.cut], 1)

    @torch.no_grad()
    def fill(self, latents: Tensor) -> None:
        """Take (N, V) latents as its own."""
        for name, piece in self._split(latents).items():
            self._latent(name).copy_(piece)

    def _latent(self, name: str) -> Tensor:
        found = self.styles if name == "styles" else getattr(self.maps, name)
        assert isinstance(found, Tensor)
        return found

    def decode(self, latents: Tensor, white: Tensor | None = None) -> Tensor:
        """(B, V) -> (B, C, H, W)."""
        weights = dict(self.decoder.named_parameters()) | dict(self.decoder.named_buffers())
        given = (*weights.values(),)
        make = functools.partial(self._made, (*weights,))
        if not (torch.is_grad_enabled() and any(x.requires_grad for x in (latents, *given))):
            return make(latents, *given)
        most = AT_ONCE if latents.device.type == "cpu" else AT_ONCE_ON_DEVICE
        lots = latents.split(max(1, most // self.values_per_image))
        again: Any = {"use_reentrant": False, "preserve_rng_state": False}
        return torch.cat([checkpoint(make, lot, *given, **again) for lot in lots])

    def _made(self, names: Sequence[str], latents: Tensor, *weights: Tensor) -> Tensor:
        """Images as a pure function of latents and weights, so that they can be made again."""
        pieces, given = self._split(latents), dict(zip(names, weights, strict=True))
        inputs = tuple(pieces.get(name) for name in PLACES)
        images: Tensor = self.values(functional_call(self.decoder, given, inputs))
        return images

    def _split(self, latents: Tensor) -> dict[str, Tensor]:
        """(B, V) -> what goes into the layer, by name."""
        pieces = latents.split(self._lengths, 1)
        pairs = zip(self.cut.items(), pieces, strict=True)
        return {name: piece.unflatten(1, shape) for (name, shape), piece in pairs}


@functools.lru_cache(maxsize=1)
def generated(network: SynthesisSpec, image: Image, seed: int) -> dict[str, Tensor]:
    """The weights that a seed makes, shared by all parts of a set."""
    return random_weights(sizes(network, image), seed)
