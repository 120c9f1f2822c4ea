"""What images look like to the code that asks for them, a set's own and real ones alike."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from d3data.errors import D3DataError, nearest
from d3data.preprocessing import Preprocessing
from d3data.sources.specs import Image

if TYPE_CHECKING:
    import PIL.Image

Output = Literal["image", "float", "normalised", "latent"]


@dataclass(frozen=True)
class Presentation:
    """What the images of a set look like to the code that asked for them.

    Raises:
        D3DataError: there is no such output, or the set's values are no colours.
    """

    output: Output
    image: Image

    def __post_init__(self) -> None:
        if self.output not in get_args(Output):
            raise D3DataError(
                f"output={self.output!r}: {nearest(str(self.output), get_args(Output))}"
            )
        if self.pixels:
            require_colours(self.image, f"output={self.output!r}")
            import torchvision.tv_tensors  # noqa: F401  now, and not in every worker

    @property
    def pixels(self) -> bool:
        """Whether images are clipped colours, and not values of the set's own."""
        return self.output in ("image", "float")

    def batch(self, images: Tensor) -> Tensor:
        """(B, C, H, W) normalised values, as this output has them."""
        if not self.pixels:
            return images
        return (to_uint8 if self.output == "image" else to_unit)(images, self.image)

    def one(self, image: Tensor) -> Tensor:
        """One image of a batch, as torchvision's transforms know it."""
        if not self.pixels:
            return image
        from torchvision.tv_tensors import Image as TVImage

        known: Tensor = image.as_subclass(TVImage)
        return known


@dataclass(frozen=True)
class RealTransform:
    """Real images, PIL or uint8 tensors, as a distilled set gives its own.

    Raises:
        D3DataError: the set's own are latents, or whitened.
    """

    preprocessing: Preprocessing
    present: Presentation

    def __post_init__(self) -> None:
        if self.present.output == "latent":
            raise D3DataError("real images have no latents: load the set with output='image'")
        require_colours(self.present.image, "a transform of real images")

    def __call__(self, image: "PIL.Image.Image | Tensor") -> Tensor:
        """(C, H, W), of the type and range of the set."""
        pixels = self.preprocessing(image)
        if self.present.output == "image":
            return self.present.one(pixels)
        return self.present.one(self.present.batch(normalised(pixels, self.present.image)))


def to_uint8(images: Tensor, image: Image) -> Tensor:
    """(..., C, H, W) normalised -> pixels: 255 (x std + mean), rounded half to even, clipped."""
    return to_unit(images, image).mul_(255).round_().to(torch.uint8)


def to_unit(images: Tensor, image: Image) -> Tensor:
    """(..., C, H, W) normalised -> pixel values from 0 to 1, clipped."""
    mean, std = _moments(image, images.device)
    return (images * std).add_(mean).clamp_(0, 1)


def normalised(pixels: Tensor, image: Image) -> Tensor:
    """(..., C, H, W) uint8 pixels -> (pixel / 255 - mean) / std, float32."""
    mean, std = _moments(image, pixels.device)
    return (pixels.float() / 255 - mean) / std


def require_colours(image: Image, asked: str) -> None:
    """Raise D3DataError where values are whitened, so that they are not colours of pixels."""
    if image.whitening is not None:
        raise D3DataError(
            f"{asked}: the values of this set are whitened, and the matrix that makes colours of "
            "them is not shipped; load it with output='normalised' (or 'latent')"
        )


@lru_cache(16)
def _moments(image: Image, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (C, 1, 1) each."""
    with torch.inference_mode(False):  # they are kept for callers of every mode
        mean, std = torch.tensor([image.mean, image.std], device=device)[..., None, None]
    return mean, std
