"""The rule that brings any image to the shape that a task and an artifact have.

The rule travels with an artifact, so that real images are brought to it as its own were.
An image goes upright (EXIF), then to grey or RGB, then to a square:

    exact    it must have this size already
    squash   resized without regard to its proportions
    crop     shorter side resized to the square's, then the centre is cut out
    pad      scaled to fit inside, centred on black; `padding` pixels stay black on every side
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import pydantic
import torch
from torch import Tensor

from d3data.errors import DataError
from d3data.utils.schema import Frozen

if TYPE_CHECKING:
    from PIL import Image

Fit = Literal["exact", "squash", "crop", "pad"]

GRAY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
TRANSPARENT = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


class Preprocessing(Frozen):
    """Channels, side in pixels and the named rule for images of another shape."""

    channels: Literal[1, 3]
    size: int = pydantic.Field(ge=8, le=512)
    fit: Fit = "exact"
    padding: int = pydantic.Field(default=0, ge=0)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.padding and self.fit != "pad":
            raise ValueError(f"padding goes with fit 'pad', not {self.fit!r}")
        if self.size <= 2 * self.padding:
            raise ValueError(f"padding {self.padding} leaves nothing of {self.size} pixels")
        return self

    def __call__(self, image: "Image.Image | Tensor") -> Tensor:
        """Bring one image to the rule.

        Args:
            image: of any mode, or a uint8 tensor (C, H, W) with one or three channels.

        Returns:
            uint8 (channels, size, size).

        Raises:
            DataError: it has another size and the rule is exact, or values of unknown range.
        """
        from PIL import ImageOps

        picture = _picture(image) if isinstance(image, Tensor) else ImageOps.exif_transpose(image)
        array = np.array(self._fitted(_flat(picture, "L" if self.channels == 1 else "RGB")))
        return torch.from_numpy(array).reshape(self.size, self.size, -1).permute(2, 0, 1)

    def _fitted(self, image: "Image.Image") -> "Image.Image":
        from PIL import Image

        size, shape = self.size, image.size
        if self.fit == "squash":
            return _resized(image, (size, size))
        if self.fit == "crop":
            width, height = (size * side // min(shape) for side in shape)
            left, top = round((width - size) / 2), round((height - size) / 2)
            return _resized(image, (width, height)).crop((left, top, left + size, top + size))
        if self.fit == "pad":
            inner = size - 2 * self.padding
            width, height = (max(1, round(inner * side / max(shape))) for side in shape)
            canvas = Image.new(image.mode, (size, size))
            corner = (size - width) // 2, (size - height) // 2
            canvas.paste(_resized(image, (width, height)), corner)
            return canvas
        if shape != (size, size):
            raise DataError(
                f"{shape[0]}x{shape[1]} pixels where exactly {size}x{size} are expected; "
                "choose the fit 'squash', 'crop' or 'pad'"
            )
        return image


def suggest_rule(
    shapes: Iterable[tuple[int, int, str]], *, size: int | None = None
) -> Preprocessing:
    """A rule for images of which (width, height, mode) are known.

    Images that are squares of one size from 8 to 512 pixels keep it; otherwise the side is the
    largest of 16, 32, 64 and 128 pixels that half of the images reach with their shorter one.
    Grey only where all images are.
    """
    seen = list(shapes)
    sides = sorted(min(width, height) for width, height, _ in seen)
    first, *others = {(width, height) for width, height, _ in seen}
    if size is None and not others and first[0] == first[1] and 8 <= first[0] <= 512:
        size = first[0]
    if size is None:
        median = sides[len(sides) // 2]
        size = max((side for side in (16, 32, 64, 128) if side <= median), default=8)
    gray = all(mode in GRAY for _, _, mode in seen)
    return Preprocessing(channels=1 if gray else 3, size=size, fit="crop")


def _picture(pixels: Tensor) -> "Image.Image":
    from PIL import Image

    if pixels.dtype != torch.uint8 or pixels.dim() != 3 or pixels.shape[0] not in (1, 3):
        raise DataError(
            f"a tensor of {pixels.dtype} and shape {tuple(pixels.shape)} is not an image; "
            "give uint8 (1, H, W) or (3, H, W)"
        )
    array = pixels.permute(1, 2, 0).numpy(force=True)
    return Image.fromarray(array[:, :, 0] if pixels.shape[0] == 1 else array)


def _flat(image: "Image.Image", mode: str) -> "Image.Image":
    """Eight bits, opaque (on white), and `mode` L or RGB."""
    from PIL import Image

    if image.mode == "F":
        raise DataError("floating-point pixels have no known range; store the image with 8 bits")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        if wide.min() < 0 or wide.max() > 0xFFFF:
            raise DataError("32-bit pixels have no known range; store the image with 8 or 16 bits")
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode in TRANSPARENT or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


def _resized(image: "Image.Image", shape: tuple[int, int]) -> "Image.Image":
    from PIL import Image

    if image.size == shape:
        return image
    return image.resize(shape, Image.Resampling.BILINEAR)  # Pillow averages when it shrinks
