"""What an artifact and a recipe say of a source: frozen records, no tensors."""

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from d3data.frozen import Frozen

Mean = Annotated[float, Field(ge=-100, le=100)]
Deviation = Annotated[float, Field(ge=1e-4, le=100)]


class Whitening(Frozen):
    """How values were whitened after they were normalised.

    The matrix is not shipped: it is computed again from the task's images, those with the digest
    `images_sha256`, and `regularisation` is added to its eigenvalues.
    """

    method: Literal["zca"] = "zca"
    regularisation: float = Field(gt=0, le=1e6)
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


class DecoderSpec(Frozen):
    """A decoder out of the closed table of `d3data.sources.decoders`.

    `width` is the number of channels of its first map and `noise` the length Z of a latent.
    `stages` is how often the map is doubled; None doubles from 2x2, as published.
    """

    family: Literal["small", "medium", "large"]
    width: int = Field(ge=1, le=4096)
    noise: int = Field(ge=1, le=16384)
    stages: int | None = Field(default=None, ge=1, le=8)


class GaussianSpec(Frozen):
    """Gaussian latent priors and a decoder (D3, arXiv 2403.00999).

    `std`: one standard deviation per item (N, Z), per class (K, Z), or shared by all (Z,).
    `residual`: draws carry a Gaussian field with the power that the decoder lacks.
    `values`: the decoder's Tanh spans black to white (`pixels`), or is the normalised value
    itself, as published (`normalised`).
    """

    kind: Literal["gaussian"] = "gaussian"
    decoder: DecoderSpec
    std: Literal["item", "class", "shared"] = "item"
    residual: bool = False
    values: Literal["pixels", "normalised"] = "pixels"


class PixelsSpec(Frozen):
    """The images themselves, as normalised values."""

    kind: Literal["pixels"] = "pixels"


SourceSpec = Annotated[GaussianSpec | PixelsSpec, Field(discriminator="kind")]


Precision = Literal["float32", "float16", "int8", "int7", "int6", "int5", "int4", "int3", "int2"]


class Quantisation(Frozen):
    """How the tensors of a part are stored, by what they are for.

    `axis` is whose values share a scale where priors are integers: those of one latent dimension
    ("latents"), or those of one item ("items"). Step size and residual are always float32.
    """

    decoder: Precision = "float32"
    labels: Precision = "float32"
    pixels: Precision = "float32"
    priors: Precision = "float32"
    axis: Literal["latents", "items"] = "latents"

    def of(self, purpose: str) -> Precision:
        """The precision of tensors for `purpose`."""
        found: Precision = getattr(self, purpose, "float32")
        return found

    def within(self, purposes: Collection[str]) -> "Quantisation":
        """The same for a source with tensors for these `purposes`: defaults for all others."""
        kept = {name: self.of(name) for name in PURPOSES if name in purposes}
        axis = self.axis if kept.get("priors", "float32").startswith("int") else "latents"
        return Quantisation.model_validate({**kept, "axis": axis})


PURPOSES = ("decoder", "labels", "pixels", "priors")
