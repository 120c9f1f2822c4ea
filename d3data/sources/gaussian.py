"""Gaussian latent priors and a decoder.

Qin, Deng, Alvarez-Melis 2024, "Distributional Dataset Distillation with Subtask Decomposition",
arXiv 2403.00999. An image is decoder(mean + std * noise), drawn anew each time.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from d3data.images.spec import Image
from d3data.sources.base import Layout, Source, SourceSpec, Tensors
from d3data.sources.decoders import Decoder, DecoderSpec, ValueRange, sizes
from d3data.sources.residual import BINS, Residual


class GaussianSpec(SourceSpec):
    """Gaussian latent priors and a decoder (D3, arXiv 2403.00999).

    `std`: one standard deviation per item (N, Z), per class (K, Z), or shared by all (Z,).
    `residual`: draws carry a Gaussian field with the power that the decoder lacks.
    `values`: the decoder's Tanh spans black to white (`pixels`), or is the normalised value
    itself, as published (`normalised`).
    """

    kind: Literal["gaussian"] = "gaussian"
    decoder: DecoderSpec
    std: Literal["item", "class", "shared"] = "item"
    residual: bool = False
    values: Literal["pixels", "normalised"] = "pixels"

    reference: ClassVar[str] = "arXiv:2403.00999"
    purposes: ClassVar[frozenset[str]] = frozenset({"decoder", "priors", "residual"})
    random: ClassVar[bool] = True
    nonnegative: ClassVar[frozenset[str]] = frozenset({"std"})

    def layout(self, image: Image, *, items: int, classes: int) -> Layout:
        """Priors, the decoder with its norms folded, and the residual's spectrum."""
        latents = self.decoder.noise
        shapes: Layout = {
            "mean": (items, latents),
            "std": (*self.std_rows(items, classes), latents),
        }
        decoder = sizes(self.decoder, image).shapes()
        shapes |= {f"decoder.{name}": shape for name, shape in decoder.items()}
        if self.residual:
            shapes["residual.axes"] = (image.channels, image.channels)
            shapes["residual.amplitudes"] = (image.channels, BINS)
        return shapes

    def published_values(self, image: Image, *, items: int, classes: int) -> int:
        """As papers count: the norms' scales and shifts too, which folding takes away."""
        folded = 2 * sum(sizes(self.decoder, image).channels[1:])
        return super().published_values(image, items=items, classes=classes) + folded

    def build(
        self, image: Image, *, classes: Tensor, step_size: Tensor, labels: Tensor | None
    ) -> "GaussianSource":
        """Priors and a decoder that are still to be filled in."""
        return GaussianSource(self, image, classes=classes, step_size=step_size, labels=labels)

    def renormalized(self, tensors: Tensors, old: Image, new: Image) -> Tensors:
        """The same tensors where the decoder spans black to white and no residual is added."""
        if self.values == "pixels" and not self.residual:
            return tensors
        return super().renormalized(tensors, old, new)

    def describe(self, items: int, parts: int) -> str:
        """Such as `110 Gaussian priors and a decoder`."""
        decoders = "a decoder" if parts == 1 else f"{parts:,} decoders"
        return f"{items:,} Gaussian prior{'s' * (items != 1)} and {decoders}"

    def with_noise(self, factor: float, tensors: Tensors) -> tuple["GaussianSpec", Tensors]:
        """The same, and standard deviations times `factor`; a residual stays as it is."""
        scaled = {name: factor * value for name, value in tensors.items() if name == "std"}
        return self, {**tensors, **scaled}

    def std_rows(self, items: int, classes: int) -> tuple[int, ...]:
        """How many standard deviations there are: (N,), (K,) or ()."""
        return {"item": (items,), "class": (classes,), "shared": ()}[self.std]


class GaussianSource(Source):
    """N priors over latents of length Z, one decoder, and a residual field if asked for.

    Z noise values of a draw perturb its latent; with a residual, C H W white ones follow.
    D3 learns log-variances; here the standard deviation itself is learned, its sign without
    meaning, since it is what an artifact stores.
    """

    spec: GaussianSpec
    image: Image
    mean: nn.Parameter
    std: nn.Parameter
    decoder: Decoder
    residual: Residual | None
    latent_shape: tuple[int, ...]
    latent_noise: int
    white_noise: int
    values_per_image: int
    values: ValueRange

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
        latents, decoder = spec.decoder.noise, sizes(spec.decoder, image)
        kinds, rows = torch.unique(self.classes, return_inverse=True)
        self.register_buffer("rows", rows, persistent=False)
        with torch.device("meta"):  # `registry.build` gives them their storage
            self.mean = nn.Parameter(torch.empty(len(classes), latents))
            self.std = nn.Parameter(torch.empty(*spec.std_rows(len(classes), len(kinds)), latents))
            self.decoder = Decoder(decoder, norm=False)
        self.residual = Residual(image) if spec.residual else None
        self.latent_shape, self.latent_noise = (latents,), latents
        self.white_noise = image.values if spec.residual else 0
        self.values_per_image = decoder.largest_map
        self.values = ValueRange(image, normalized=spec.values == "normalised")

    def latents(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,) items, (B, Z) -> (B, Z): mean + std * noise."""
        mean: Tensor = self.mean[items]
        return mean if noise is None else mean + self.spread(items) * noise

    def decode(self, latents: Tensor, white: Tensor | None = None) -> Tensor:
        """(B, Z), (B, C H W) -> (B, C, H, W), with the residual of the white values if given."""
        images: Tensor = self.values(self.decoder(latents))
        if self.residual is None or white is None or not len(white):
            return images
        field: Tensor = self.residual(white.view_as(images))
        return images + field

    def spread(self, items: Tensor) -> Tensor:
        """The standard deviations of items: (B, Z), or (Z,) where all share one."""
        std = self.std.abs()
        if self.spec.std == "shared":
            return std
        return std[items if self.spec.std == "item" else self.rows[items]]

    def stored(self) -> dict[str, Tensor]:
        """Its tensors, standard deviations without their sign."""
        tensors = super().stored()
        return {**tensors, "std": tensors["std"].abs()}

    def compile_decoder(self) -> None:
        """Let torch.compile fuse the decoder."""
        self.decoder.compile()
