"""What an artifact and a recipe say of a source: frozen records, no tensors."""

from typing import Annotated, Literal

from pydantic import Field

from d3data.utils.schema import Frozen


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
