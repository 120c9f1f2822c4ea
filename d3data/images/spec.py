"""The images of a set: their shape and normalization, and pixel values to and from it."""

import re
from functools import lru_cache
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, StringConstraints, model_validator
from torch import Tensor

from d3data.errors import D3DataError
from d3data.utils.schema import Frozen, stored_as

Mean = Annotated[float, Field(ge=-100, le=100)]
Deviation = Annotated[float, Field(ge=1e-4, le=100)]
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]+$"
ClassName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]


class Whitening(Frozen):
    """How values were whitened after they were normalised.

    The matrix is not shipped: it is computed again from the task's images, those with the digest
    `images_sha256`, and `regularization` is added to its eigenvalues.
    """

    method: Literal["zca"] = "zca"
    regularization: float = stored_as("regularisation", gt=0, le=1e6)
    images_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Image(Frozen):
    """The images of a set: `channels` x `size` x `size`; value = (pixel / 255 - mean) / std.

    With `whitening`, values are whitened ones. Means and standard deviations, in units of white,
    are bounded so that float32 holds what is computed with them.
    """

    channels: Literal[1, 3]
    size: int = Field(ge=8, le=512)
    mean: tuple[Mean, ...] = Field(min_length=1, max_length=3)
    std: tuple[Deviation, ...] = Field(min_length=1, max_length=3)
    whitening: Whitening | None = None

    @model_validator(mode="after")
    def _one_of_each_a_channel(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError("mean and std need one value for each channel")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.size, self.size

    @property
    def values(self) -> int:
        """How many values one image has."""
        return self.channels * self.size**2


def is_class_name(name: str) -> bool:
    """Whether a class may have this name in a manifest."""
    return 1 <= len(name) <= 200 and re.fullmatch(PRINTABLE, name) is not None


def to_uint8(images: Tensor, image: Image) -> Tensor:
    """(..., C, H, W) normalised -> pixels: 255 (x std + mean), rounded half to even, clipped."""
    return to_unit(images, image).mul_(255).round_().to(torch.uint8)


def to_unit(images: Tensor, image: Image) -> Tensor:
    """(..., C, H, W) normalised -> pixel values from 0 to 1, clipped."""
    mean, std = _moments(image, images.device)
    return (images * std).add_(mean).clamp_(0, 1)


def normalized(pixels: Tensor, image: Image) -> Tensor:
    """(..., C, H, W) uint8 pixels -> (pixel / 255 - mean) / std, float32."""
    mean, std = _moments(image, pixels.device)
    return (pixels.float() / 255 - mean) / std


def require_colors(image: Image, asked: str) -> None:
    """Raise D3DataError where values are whitened, so that they are not colours of pixels."""
    if image.whitening is not None:
        raise D3DataError(
            f"{asked}: the values of this set are whitened, and the matrix that makes colours of "
            "them is not shipped; load it with output='normalized' (or 'latent')"
        )


@lru_cache(16)
def _moments(image: Image, device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # they are kept for callers of every mode
        mean, std = torch.tensor([image.mean, image.std], device=device)[..., None, None]
    return mean, std
