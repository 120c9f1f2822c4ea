"""The types and value ranges that images are returned in, distilled and real ones alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from torch import Tensor

from d3data.errors import D3DataError, nearest
from d3data.images.png import to_pil
from d3data.images.preprocessing import Preprocessing
from d3data.images.spec import Image, normalized, require_colors, to_uint8, to_unit

if TYPE_CHECKING:
    import PIL.Image

Output = Literal["image", "pil", "float", "normalized", "latent"]


@dataclass(frozen=True)
class OutputFormat:
    """How the images of a set are returned.

    Raises:
        D3DataError: there is no such output, or the set's values are whitened and have no colors.
    """

    output: Output
    image: Image

    def __post_init__(self) -> None:
        if self.output not in get_args(Output):
            raise D3DataError(
                f"output={self.output!r}: {nearest(str(self.output), get_args(Output))}"
            )
        if self.is_color:
            require_colors(self.image, f"output={self.output!r}")
            import torchvision.tv_tensors  # noqa: F401  now, and not in every worker

    @property
    def is_color(self) -> bool:
        """Whether images are clipped pixel colors, rather than the set's normalized values."""
        return self.output in ("image", "pil", "float")

    def batch(self, images: Tensor) -> Tensor:
        """(B, C, H, W) normalized values -> a batch in this format; of PIL images, uint8."""
        if not self.is_color:
            return images
        return (to_unit if self.output == "float" else to_uint8)(images, self.image)

    def one(self, image: Tensor) -> "Tensor | PIL.Image.Image":
        """One image of such a batch, as a `tv_tensors.Image` or for PIL where it has colors."""
        if not self.is_color:
            return image
        if self.output == "pil":
            return to_pil(image)
        from torchvision.tv_tensors import Image as TVImage

        tv_image: Tensor = image.as_subclass(TVImage)
        return tv_image


@dataclass(frozen=True)
class RealTransform:
    """Turns real images, PIL or uint8 tensors, into what a distilled set returns.

    Raises:
        D3DataError: the set returns latents, or whitened values.
    """

    preprocessing: Preprocessing
    format: OutputFormat

    def __post_init__(self) -> None:
        if self.format.output == "latent":
            raise D3DataError("real images have no latents: load the set with output='image'")
        require_colors(self.format.image, "a transform of real images")

    def __call__(self, image: "PIL.Image.Image | Tensor") -> "Tensor | PIL.Image.Image":
        """(C, H, W), or PIL's, in the type and range of the set's images."""
        pixels = self.preprocessing(image)
        if self.format.output not in ("image", "pil"):
            pixels = self.format.batch(normalized(pixels, self.format.image))
        return self.format.one(pixels)
