"""The images themselves: what DD, DC, DSA, DM and MTT distil."""

import torch
from torch import Tensor, nn

from d3data.images.spec import Image
from d3data.sources.base import Source


class PixelsSource(Source):
    """N images as normalised values (N, C, H, W); nothing is random."""

    def __init__(
        self,
        image: Image,
        *,
        classes: Tensor,
        step_size: Tensor,
        labels: Tensor | None = None,
    ) -> None:
        super().__init__(classes, labels, step_size)
        self.pixels = nn.Parameter(torch.empty(len(classes), *image.shape, device="meta"))
        self.noise_shape = ()

    def images(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,) -> (B, C, H, W); noise is not looked at."""
        return self.pixels[items]
