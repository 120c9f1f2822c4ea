"""The residual: a Gaussian field with the power that a source's draws lack.

A decoder trained on squared error gives the mean of what a latent stands for, and a network
trained on such smooth images fails on sharp ones. The field restores, in each of C colour axes,
24 amplitudes over radial frequency.
"""

import math

import torch
from torch import Tensor, nn

from d3data.images.spec import Image

BINS = 24
HIGHEST = math.sqrt(0.5)  # cycles a pixel


class Residual(nn.Module):
    """white noise (B, C, H, W) -> (B, C, H, W) normalised values to be added to draws.

    `axes` (C, C) holds the colour axes in its rows, `amplitudes` (C, 24) the amplitude of each
    axis at the centres of bins that are equally wide from 0 to sqrt(1/2) cycles a pixel.
    """

    amplitudes: nn.Parameter

    axes: Tensor
    lower: Tensor
    upper: Tensor
    share: Tensor

    def __init__(self, image: Image) -> None:
        super().__init__()
        self.register_buffer("axes", torch.eye(image.channels))  # orthonormal, so never learned
        self.amplitudes = nn.Parameter(torch.zeros(image.channels, BINS))
        position = (frequencies(image.size) / HIGHEST * BINS - 0.5).clamp(0, BINS - 1)
        lower = position.floor().long().clamp(max=BINS - 2)
        self.register_buffer("lower", lower, persistent=False)
        self.register_buffer("upper", lower + 1, persistent=False)
        self.register_buffer("share", position - lower, persistent=False)

    def forward(self, white: Tensor) -> Tensor:
        """field = axes^T irfft2(rfft2(white) x amplitude), with the orthonormal transform."""
        amplitude = torch.lerp(
            self.amplitudes[:, self.lower], self.amplitudes[:, self.upper], self.share
        )
        spectrum = torch.fft.rfft2(white, norm="ortho") * amplitude
        field = torch.fft.irfft2(spectrum, s=white.shape[-2:], norm="ortho")
        return torch.einsum("kc,bkhw->bchw", self.axes, field)


def frequencies(size: int) -> Tensor:
    """(H, W // 2 + 1) radial frequencies of rfft2 in cycles a pixel."""
    return torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None])


def color_axes(images: Tensor) -> Tensor:
    """(C, C): rows are eigenvectors of the colour covariance, largest component positive."""
    covariance = torch.cov(images.double().transpose(0, 1).flatten(1))
    _, vectors = torch.linalg.eigh(covariance.reshape(images.shape[1], images.shape[1]))
    axes = vectors.T.flip(0)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    signed: Tensor = axes * largest.sign()
    return signed.float()


def power(images: Tensor, axes: Tensor) -> Tensor:
    """(B, C, H, W) -> (C, 24): mean power of each colour axis in each bin of frequency.

    A bin that holds no frequency of this image size is interpolated from its neighbours.
    """
    spectrum = torch.fft.rfft2(torch.einsum("kc,bchw->bkhw", axes, images), norm="ortho")
    size = images.shape[-1]
    density = spectrum.abs().square().mean(0)  # (C, H, W // 2 + 1)
    bins = (frequencies(size) / HIGHEST * BINS).long().clamp(max=BINS - 1).flatten()
    twice = torch.full((size // 2 + 1,), 2.0)  # rfft2 keeps one of two conjugate columns
    twice[0] = 1
    if size % 2 == 0:
        twice[-1] = 1
    weight = twice.expand(size, -1).flatten()
    mass = torch.zeros(BINS).index_add(0, bins, weight)
    total = torch.zeros(len(axes), BINS).index_add(1, bins, density.flatten(1) * weight)
    filled = mass > 0
    known = torch.arange(BINS)[filled].double()
    rows = [_interpolate(known, row) for row in (total[:, filled] / mass[filled]).double()]
    return torch.stack(rows).float()


def fit(residual: Residual, real: Tensor, drawn: Tensor) -> None:
    """Set axes and amplitudes so that draws plus the field have the power of real images.

    amplitude = sqrt(max(0, power of real images - power of draws)).
    """
    axes = color_axes(real)
    lacking = power(real, axes) - power(drawn, axes)
    with torch.no_grad():
        residual.axes.copy_(axes)
        residual.amplitudes.copy_(lacking.clamp(min=0).sqrt())


def _interpolate(known: Tensor, values: Tensor) -> Tensor:
    at = torch.arange(BINS, dtype=known.dtype)
    right = torch.searchsorted(known, at).clamp(1, len(known) - 1)
    left = right - 1
    share = ((at - known[left]) / (known[right] - known[left])).clamp(0, 1)
    return torch.lerp(values[left], values[right], share)
