"""The rule that brings any image to the shape that a task and an artifact have.

The rule travels with an artifact, so that real images are brought to it as its own were.
An image goes upright (EXIF), then to grey or RGB, then to a square:

    exact    it must have this size already
    squash   resized without regard to its proportions
    crop     shorter side resized to the square's, then the centre is cut out
    pad      scaled to fit inside, centred on black; `padding` pixels stay black on every side

Pixels of more than 8 bits, or floats, go from black, 0, to `white`; the few that are brighter are
white too.
"""

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from torch import Tensor

from d3data.errors import DataError
from d3data.utils.schema import Frozen

if TYPE_CHECKING:
    from PIL import Image

Fit = Literal["exact", "squash", "crop", "pad"]

GRAY = frozenset({"1", "F", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
TRANSPARENT = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
DEEP = ";16"  # behind the mode of colours that Pillow opens with the upper 8 of 16 bits
BITS_16 = 0xFFFF
MOST_WHITE = 2.0**32
FEW = 0.01  # of the pixels of an image, or of all, which may be brighter than others
LONG = 8  # sides longer than this many of the square's are cut before they are resized


def _optional_white(schema: dict[str, Any]) -> None:
    """Of all keys this one is left out where it has its default."""
    if "white" in schema.get("required", ()):
        schema["required"].remove("white")


class Preprocessing(Frozen):
    """Channels, side in pixels and the named rule for images of another shape.

    `white` is the value that becomes white in images of more than 8 bits: 65535 of 16 bits unless
    given, and unknown of floats and of 32 bits. Where it is not given, it is not stored.
    """

    model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(
        json_schema_extra=_optional_white
    )

    channels: Literal[1, 3]
    size: int = pydantic.Field(ge=8, le=512)
    fit: Fit = "exact"
    padding: int = pydantic.Field(default=0, ge=0)
    white: float | None = pydantic.Field(
        default=None, gt=0, le=MOST_WHITE, exclude_if=lambda value: value is None
    )

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
        known = isinstance(image, Tensor) or self.white is not None or _has_range(image)
        picture = _picture(image) if isinstance(image, Tensor) else _upright(image)
        flat = _flat(picture, "L" if self.channels == 1 else "RGB", self.white, known=known)
        array = np.array(self._fitted(flat))
        return torch.from_numpy(array).reshape(self.size, self.size, -1).permute(2, 0, 1)

    def _fitted(self, image: "Image.Image") -> "Image.Image":
        from PIL import Image

        size, shape = self.size, image.size
        if self.fit == "squash":
            return _resized(image, (size, size))
        if self.fit == "crop":
            width, height = (size * side // min(shape) for side in shape)
            left, top = round((width - size) / 2), round((height - size) / 2)
            if max(width, height) > LONG * size:  # the same but for rounding, in little memory
                short = min(shape)
                x, y = (short * corner / size for corner in (left, top))
                box = (x, y, x + short, y + short)
                return image.resize((size, size), Image.Resampling.BILINEAR, box=box)
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
    gray = all(mode.removesuffix(DEEP) in GRAY for _, _, mode in seen)
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


def kind_of(image: "Image.Image") -> str:
    """Pillow's mode of an image that is not decoded, with `DEEP` where 8 of 16 bits are lost."""
    raw = str([tile[3] for tile in getattr(image, "tile", ())])  # what is in memory has none
    return f"{image.mode}{DEEP}" if DEEP in raw and image.mode[0] not in "IF" else image.mode


def is_deep(kind: str) -> bool:
    """Whether images of a kind have more than 8 bits and may use few of them."""
    return kind.startswith(("I", "F")) or kind.endswith(DEEP)


def range_fault(images: Iterable["Image.Image"]) -> str | None:
    """Why it must be said which value is white, or None: images of 16 bits use few of them.

    These would come out too dark where 99 % of their pixels are below a quarter. Of 32 bits
    nothing is known.
    """
    gray, color = np.zeros(BITS_16 + 1, np.int64), np.zeros(256, np.int64)
    unknown: list[float] = []
    for image in images:
        kind = kind_of(image)
        if not _has_range(image):
            with contextlib.suppress(Exception):  # what cannot be decoded is told elsewhere
                values = np.asarray(image)
                finite = values[np.isfinite(values)]
                unknown += [float(finite.min()), float(finite.max())]
        elif kind.startswith("I"):
            gray += np.bincount(np.asarray(image).ravel(), minlength=len(gray))
        elif kind.endswith(DEEP):
            bands = [image.getchannel(band) for band in image.getbands() if band != "A"]
            color += np.sum([band.histogram() for band in bands], 0)
    if unknown:
        white = next((w for w in (1, 255, 4095, BITS_16) if max(unknown) <= w), max(unknown))
        return (
            f"pixels of 32 bits have no known range, and go from {min(unknown):.6g} to "
            f"{max(unknown):.6g}: say what is white, `--white {white:.6g}`, or white = "
            f"{white:.6g} in the recipe's [task], or store the images with 8 bits"
        )
    if gray.any() and (most := _reach(gray, 1 - FEW)) <= BITS_16 // 4:
        top = _reach(gray, 1 - FEW / 10)
        white = next(white for white in (255, 1023, 4095, 16383, BITS_16) if top <= white)
        return (
            f"99 % of the pixels of grey images of 16 bits go to {most} of {BITS_16}, and come "
            f"out almost black: say what is white, `--white {white}`, or white = {white} in the "
            f"recipe's [task] ({BITS_16} if they are that dark)"
        )
    if color.any() and (most := 257 * _reach(color, 1 - FEW)) <= BITS_16 // 4:
        return (
            f"99 % of the pixels of images of 16 bits a colour go to about {most} of {BITS_16}, "
            "and Pillow reads the upper 8 bits of them: store them with 8 bits, scaled to 0 to 255"
        )
    return None


def _reach(counts: NDArray[np.int64], share: float) -> int:
    """Up to which value this share of all pixels goes."""
    return int(np.searchsorted(counts.cumsum(), share * counts.sum()))


def _has_range(image: "Image.Image") -> bool:
    """Whether a value is known to be white: not of floats, nor of what is opened as 32 bits.

    A portable graymap is opened as 32 bits, and scaled to 16.
    """
    return image.mode != "F" and (image.mode != "I" or image.format == "PPM")


def _upright(image: "Image.Image") -> "Image.Image":
    """Turned as its EXIF says; a broken EXIF block is none."""
    from PIL import ImageOps

    image.load()  # whose errors are not those of EXIF
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # parsers of EXIF raise of every kind
        return image


def _flat(
    image: "Image.Image", mode: str, white: float | None, *, known: bool = True
) -> "Image.Image":
    """Eight bits, opaque (on white), and `mode` L or RGB; `known` says that its range is."""
    from PIL import Image

    clear = image.info.get("transparency")
    if image.mode[0] in "IF":
        image = _eight_bits(image, white, known=known)
    elif isinstance(clear, tuple) and max(clear, default=0) > 255:  # a colour of 16 bits
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    if image.mode in TRANSPARENT or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: "Image.Image", white: float | None, *, known: bool) -> "Image.Image":
    """The same, white where it is transparent."""
    from PIL import Image

    top = white or BITS_16
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("it has pixels that are not finite; store the image with 8 bits")
    found = f"pixels from {values.min():.6g} to {values.max():.6g}"
    if values.min() < 0:
        raise DataError(f"{found}, where 0 is black; store the image with 8 bits")
    if not known:
        raise DataError(
            f"{found} of 32 bits have no known range; say which value is white, `--white 1.0`, "
            "or white = 1.0 in the recipe's [task], or store the image with 8 bits"
        )
    if (values > top).sum() > max(1, FEW * values.size):
        raise DataError(f"{found}, where 0 is black and {top:.6g} white; raise white")
    scaled = np.floor(values.clip(max=top) * (255 / top) + 0.5).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        scaled[values == clear] = 255
    return Image.fromarray(scaled)


def _resized(image: "Image.Image", shape: tuple[int, int]) -> "Image.Image":
    from PIL import Image

    if image.size == shape:
        return image
    return image.resize(shape, Image.Resampling.BILINEAR)  # Pillow averages when it shrinks
