"""What images look like to the code that asks for them, a set's own and real ones alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from d3data.errors import D3DataError, nearest
from d3data.preprocessing import Preprocessing
from d3data.sources.specs import Image

if TYPE_CHECKING:
    import PIL.Image

Output = Literal["image", "float", "normalised"]


@dataclass(frozen=True)
class Presentation:
    """What the images of a set look like to the code that asked for them."""

    output: Output
    image: Image

    def __post_init__(self) -> None:
        if self.output == "normalised":
            return
        if self.output not in ("image", "float"):
            raise D3DataError(f"output={self.output!r}: {nearest(self.output, get_args(Output))}")
        import torchvision.tv_tensors  # noqa: F401  now, and not in every worker of every epoch

    def batch(self, images: Tensor) -> Tensor:
        """(B, C, H, W) normalised values, as this output has them."""
        if self.output == "normalised":
            return images
        return (to_uint8 if self.output == "image" else to_unit)(images, self.image)

    def one(self, image: Tensor) -> Tensor:
        """One image of a batch, as torchvision's transforms know it."""
        if self.output == "normalised":
            return image
        from torchvision.tv_tensors import Image as TVImage

        wrapped: Tensor = TVImage(image)
        return wrapped


@dataclass(frozen=True)
class RealTransform:
    """Real images, PIL or uint8 tensors, as a distilled set gives its own."""

    preprocessing: Preprocessing
    present: Presentation

    def __call__(self, image: "PIL.Image.Image | Tensor") -> Tensor:
        """(C, H, W), of the type and range of the set."""
        pixels = self.preprocessing(image)
        if self.present.output == "image":
            return self.present.one(pixels)
        return self.present.one(self.present.batch(normalised(pixels, self.present.image)))


def to_uint8(images: Tensor, image: Image) -> Tensor:
    """(..., C, H, W) normalised -> pixels: 255 (x std + mean), rounded half to even, clipped."""
    return (to_unit(images, image) * 255).round_().to(torch.uint8)


def to_unit(images: Tensor, image: Image) -> Tensor:
    """(..., C, H, W) normalised -> pixel values from 0 to 1, clipped."""
    mean, std = _moments(image, images.device)
    return torch.addcmul(mean, images, std).clamp_(0, 1)


def normalised(pixels: Tensor, image: Image) -> Tensor:
    """(..., C, H, W) uint8 pixels -> (pixel / 255 - mean) / std, float32."""
    mean, std = _moments(image, pixels.device)
    return (pixels.float() / 255 - mean) / std


def _moments(image: Image, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (C, 1, 1) each."""
    mean, std = torch.tensor([image.mean, image.std], device=device)[..., None, None]
    return mean, std
