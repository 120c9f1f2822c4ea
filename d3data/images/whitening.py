"""ZCA whitening, as KIP, FRePo and MTT distill the images of CIFAR.

Values are moved to their mean over the train images and multiplied by (C + r I)^(-1/2), where C is
their covariance: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images",
appendix A. Legend: N images, D = C H W values of one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from d3data.utils.device import to_device


@dataclass(frozen=True)
class Zca:
    """What whitens images: their mean (D,) and a symmetric matrix (D, D), float32."""

    mean: Tensor
    matrix: Tensor

    @classmethod
    def of(cls, lots: Iterable[Tensor], *, regularization: float) -> Self:
        """That of images, in lots (B, C, H, W); computed in float64."""
        count, total, products = 0, torch.zeros(()), torch.zeros(())
        for lot in lots:
            values = lot.flatten(1).double().cpu()
            count, total = count + len(values), total + values.sum(0)
            products = products + values.T @ values
        mean = total / count
        covariance = (products - count * torch.outer(mean, mean)) / max(1, count - 1)
        sizes, vectors = torch.linalg.eigh(covariance)
        scales = (sizes.clamp(min=0) + regularization).rsqrt()
        return cls(mean.float(), (vectors * scales @ vectors.T).float())

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) normalized -> (B, C, H, W) whitened."""
        return ((images.flatten(1) - self.mean) @ self.matrix).view(images.shape)

    def on(self, device: torch.device) -> Self:
        return replace(
            self, mean=to_device(self.mean, device), matrix=to_device(self.matrix, device)
        )
