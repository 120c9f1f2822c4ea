"""What images look like to the code that asks for them, a set's own and real ones alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from torch import Tensor

from d3data.errors import D3DataError, nearest
from d3data.images.preprocessing import Preprocessing
from d3data.images.spec import Image, normalized, require_colors, to_uint8, to_unit

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
            require_colors(self.image, f"output={self.output!r}")
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
        require_colors(self.present.image, "a transform of real images")

    def __call__(self, image: "PIL.Image.Image | Tensor") -> Tensor:
        """(C, H, W), of the type and range of the set."""
        pixels = self.preprocessing(image)
        if self.present.output == "image":
            return self.present.one(pixels)
        return self.present.one(self.present.batch(normalized(pixels, self.present.image)))
