"""Values that others normalized, as their task is here: undone, checked, and done again."""

import math
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from d3data.convert import whitening
from d3data.convert.image_files import StoredImages
from d3data.convert.provenance import Origin
from d3data.errors import ArtifactError, DataError
from d3data.images.spec import Image

LARGE = 2  # mean absolute value of pixels that should go from 0 to 1
BEYOND = 0.1  # of the range of pixels, to either side; distilled images often exceed it
ZCA = 0.1  # what MTT, and those after it, add to the eigenvalues
LEAST_CONTRAST = 0.5  # of that of the real images; tens of real images have 0.8 of it
SMOOTH = 0.8  # the correlation of neighbouring pixels; of CIFAR-10 0.93, whitened 0.64
AS_GIVEN = "--as-given (as_given=True) converts them all the same"
MOST_SHIFT = 1.5  # standard deviations between the means; tens of real images have 0.35
CENTERED = 0.2  # standard deviations from 0 to the mean of pixels; of MNIST 0.42, of others more


def given_moments(
    stored: StoredImages,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    zca: float | None,
) -> Tensor:
    """(2, C) mean and standard deviation that the values were normalized with, float64.

    A single number is that of all channels.
    """
    channels = stored.values.shape[1]
    if stored.values.dtype == torch.uint8:
        if mean is not None or std is not None or zca is not None:
            raise ArtifactError(
                "uint8 images are neither normalized nor whitened: omit --mean, --std and --zca"
            )
        return torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, channels)
    if zca is not None and mean is None and std is None:
        mean, std = (0.0,) * channels, (1.0,) * channels
    if mean is None or std is None:
        raise ArtifactError(
            "give the --mean and --std that these values were normalized with; for pixels from 0 "
            "to 1 they are 0 and 1"
        )
    given = [list(one) * (channels if len(one) == 1 else 1) for one in (mean, std)]
    if (
        {*map(len, given)} != {channels}
        or min(given[1]) <= 0
        or not all(map(math.isfinite, chain(*given)))
    ):
        raise ArtifactError(
            f"--mean {mean}, --std {std}: give {channels} numbers each, or one for all channels; "
            "std above 0"
        )
    return torch.tensor(given, dtype=torch.float64)


def unwhitened(stored: StoredImages, moments: Tensor, real: Origin, zca: float) -> Tensor:
    """The values (N, C, H, W) as they were before ZCA of this regularization."""
    if zca <= 0:
        raise ArtifactError(
            f"the regularization of ZCA must be above 0, got {zca} (MTT uses {ZCA})"
        )
    if real.seen is None:
        raise ArtifactError(
            "undoing ZCA needs the real images that it was computed from: give --data"
        )
    return whitening.colored(stored.values, real.seen, regularization=zca, moments=moments)


def renormalized(
    values: Tensor, moments: Tensor, image: Image, *, as_given: bool = False
) -> Tensor:
    """Values of one normalization, or uint8 pixels -> those that `image` says; float32.

    DataError where floats cannot be pixels like those of real images, unless `as_given`.
    """
    floats = values.dtype != torch.uint8
    given = values.double() / (1 if floats else 255)
    mean, std = moments[..., None, None]
    if floats and not as_given:
        pixels = given * std + mean
        _require_range(pixels, mean)
        _require_like(pixels, image)
    low, span = torch.tensor([image.mean, image.std], dtype=torch.float64)[..., None, None]
    again: Tensor = given * (std / span) + (mean - low) / span
    return again.float()


def _require_range(pixels: Tensor, mean: Tensor) -> None:
    below = float((pixels < -BEYOND).double().mean())
    above = float((pixels > 1 + BEYOND).double().mean())
    middle = float(pixels.abs().mean())
    if below + above > 0.5 or middle > LARGE:
        raise DataError(
            f"{below:.0%} of the pixels would be below -{BEYOND} and {above:.0%} above "
            f"{1 + BEYOND}, with a mean absolute value of {middle:.3g}; pixels go from 0 to 1. "
            f"The values were normalized otherwise (--mean, --std), whitened (--zca), or go to "
            f"255; {AS_GIVEN}"
        )
    if mean.min() > 0 and (pixels < mean).double().mean() < 0.01:
        raise DataError(
            "almost no pixel would be darker than the mean of all images (--mean): the values "
            "were not normalized with it; for pixels from 0 to 1 give --mean 0 and --std 1; "
            f"{AS_GIVEN}"
        )


def _require_like(pixels: Tensor, image: Image) -> None:
    """Refuse pixels (N, C, H, W) with another mean than real images, or faint and rough ones.

    Whitened values are both; the mean of some real images is faint, and smooth.
    """
    channels = pixels.transpose(0, 1).flatten(1)
    mean, std = torch.tensor([image.mean, image.std], dtype=torch.float64)
    shift = float(((channels.mean(1) - mean) / std).abs().max())
    spread = channels.std(1, correction=0)
    contrast = float(spread.mean() / std.mean())
    centered = bool((channels.mean(1).abs() < CENTERED * spread).all())
    pairs = torch.stack([pixels[..., :-1].flatten(), pixels[..., 1:].flatten()])
    faint = contrast < LEAST_CONTRAST and not float(torch.corrcoef(pairs)[0, 1]) > SMOOTH
    if faint or centered or shift > MOST_SHIFT:
        raise DataError(
            f"the images would have {contrast:.0%} of the contrast of the real ones, and a mean "
            f"{shift:.1f} of their standard deviations from theirs: were the values whitened "
            "(--zca with --data undoes it), or normalized otherwise (--mean, --std)? "
            f"{AS_GIVEN}"
        )
