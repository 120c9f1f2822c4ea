"""The images themselves: what DD, DC, DSA, DM and MTT distill.

Wang, Zhu, Torralba, Efros 2018, "Dataset Distillation", arXiv 1811.10959.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from d3data.images.spec import Image
from d3data.sources.base import Layout, Source, SourceSpec, Tensors


class PixelsSpec(SourceSpec):
    """The images themselves, as normalised values."""

    kind: Literal["pixels"] = "pixels"

    reference: ClassVar[str] = "arXiv:1811.10959"
    purposes: ClassVar[frozenset[str]] = frozenset({"pixels"})

    def layout(self, image: Image, *, items: int, classes: int) -> Layout:
        """One tensor, `pixels` (N, C, H, W)."""
        return {"pixels": (items, *image.shape)}

    def build(
        self, image: Image, *, classes: Tensor, step_size: Tensor, labels: Tensor | None
    ) -> "PixelsSource":
        """Images that are still to be filled in."""
        return PixelsSource(image, classes=classes, step_size=step_size, labels=labels)

    def renormalized(self, tensors: Tensors, old: Image, new: Image) -> Tensors:
        """The images, from one mean and standard deviation of each channel to another."""
        low, span, mean, std = (
            torch.tensor(values, dtype=torch.float64)[:, None, None]
            for values in (old.mean, old.std, new.mean, new.std)
        )
        pixels = (tensors["pixels"].double() * span + low - mean) / std
        return {**tensors, "pixels": pixels.float()}

    def describe(self, items: int, parts: int) -> str:
        """Such as `10 images, learned pixel by pixel`."""
        return f"{items:,} image{'s' * (items != 1)}, learned pixel by pixel"


class PixelsSource(Source):
    """N images as normalized values (N, C, H, W); nothing is random, and a latent is an image."""

    pixels: nn.Parameter
    latent_shape: tuple[int, ...]
    values_per_image: int

    def __init__(
        self, image: Image, *, classes: Tensor, step_size: Tensor, labels: Tensor | None = None
    ) -> None:
        super().__init__(classes, labels, step_size)
        self.pixels = nn.Parameter(torch.empty(len(classes), *image.shape, device="meta"))
        self.latent_shape, self.values_per_image = image.shape, image.values

    def latents(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,) -> (B, C, H, W)."""
        return self.pixels[items]

    def decode(self, latents: Tensor, white: Tensor | None = None) -> Tensor:
        """(B, C, H, W): a copy, which the caller may change."""
        return latents.clone()
