"""The decoders of D3's published code, read into ours.

Qin, Deng, Alvarez-Melis 2024, arXiv 2403.00999, code at commit aebb309. Both have the same layers
in the same order under other names, and theirs keeps batch norms, of which the published code
uses the batch's own statistics everywhere but in one evaluator.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d3data.convert import torch_files
from d3data.errors import FormatError, RecipeError
from d3data.images.spec import Image
from d3data.sources.decoders import Decoder, DecoderSizes, DecoderSpec, sizes
from d3data.utils.text import brief, some

CHUNK = 64  # latents decoded at a time
NORM = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"


def spec_of(state: Mapping[str, Any], *, latents: int, image: Image, where: str) -> DecoderSpec:
    """What decoder a state dictionary is of, by its names and the width of its first map.

    Raises:
        FormatError: none of the published ones.
    """
    if "project.weight" in state:
        family = "small"
    else:
        family = "medium" if "decoder_input.weight" in state else "large"
    first = state.get("decoder.0.0.weight")
    if not isinstance(first, Tensor) or first.ndim != 4:
        raise FormatError(f"{where} has no decoder.0.0.weight: it is no decoder of D3's code")
    values = {"family": family, "width": first.shape[0], "noise": latents}
    spec = DecoderSpec.parse(values, where=where, error=FormatError)
    try:
        sizes(spec, image)
    except RecipeError as fault:
        raise FormatError(f"{where}: {fault}") from None
    return spec


def decoder_of(
    state: Mapping[str, Any], *, spec: DecoderSpec, image: Image, where: str
) -> Decoder:
    """The decoder, with its batch norms, not to be trained.

    Raises:
        FormatError: a tensor is missing, unknown, or of another shape.
    """
    ours = sizes(spec, image)
    names = _names(spec, ours)
    shapes = _shapes(ours)
    counters = {name for name in state if name.endswith(f".{COUNTER}")}
    missing, unknown = names.keys() - state.keys(), state.keys() - names.keys() - counters
    for fault, found in (("lacks", missing), ("has also", unknown)):
        if found:
            raise FormatError(
                f"{where} {fault} {some(map(brief, sorted(found)), at_most=4)}: it is not the "
                f"{spec.family} decoder of width {spec.width} for {image.size} pixels"
            )
    decoder = Decoder(ours, norm=True).eval().requires_grad_(False)
    tensors = {
        own: torch_files.tensor(state[name], where=f"{where}: {name}", shape=shapes[own])
        for name, own in names.items()
    }
    if any((t < 0).any() for name, t in tensors.items() if name.endswith("running_var")):
        raise FormatError(f"{where} has a variance that is negative")
    decoder.load_state_dict(tensors, strict=False)
    return decoder


@torch.no_grad()
def require_finite(decoder: Decoder, latents: Tensor, *, where: str) -> None:
    """Refuse a decoder that makes no images of latents (B, Z).

    Raises:
        FormatError: a value of an image is infinite or not a number.
    """
    if not all(decoder(piece).isfinite().all() for piece in latents.split(CHUNK)):
        raise FormatError(
            f"{where}: images drawn with it have values that are not finite, as latents or "
            "weights are too large; fetch the file again from whoever made it"
        )


@torch.no_grad()
def use_batch(decoder: Decoder, latents: Tensor) -> None:
    """Set the norms' statistics to those of one batch of all `latents` (B, Z).

    Then frozen norms do what norms in training mode do with that batch: they divide by the biased
    standard deviation. The batch is decoded in chunks, map by map.
    """
    hidden = latents if decoder.project is None else decoder.project(latents)
    base, channels = decoder.sizes.base, decoder.sizes.channels[0]
    hidden = hidden.unflatten(1, (channels, base, base))
    for up, norm in zip(decoder.ups, decoder.norms, strict=True):
        assert isinstance(norm, nn.BatchNorm2d)
        pieces = hidden.split(CHUNK)
        mean, variance = _moments(up(piece) for piece in pieces)
        norm.load_state_dict({"running_mean": mean, "running_var": variance}, strict=False)
        if norm is not decoder.norms[-1]:
            hidden = torch.cat([F.leaky_relu(norm(up(piece)), 0.01) for piece in pieces])


def _moments(maps: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of maps (B, C, H, W), added up in float64."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for values in (piece.double().transpose(0, 1).flatten(1) for piece in maps):
        count += values.shape[1]
        total = total + values.sum(1)
        squares = squares + values.square().sum(1)
    mean = total / count
    return mean, (squares / count - mean.square()).clamp(min=0)


def _names(spec: DecoderSpec, ours: DecoderSizes) -> dict[str, str]:
    """Their name of each tensor -> ours."""
    last = ours.stages - 1
    small = spec.family == "small"
    roots = {f"decoder.{i}": i for i in range(ours.stages if small else last)}
    if not small:
        roots["final_layer"] = last
    names: dict[str, str] = {}
    if ours.linear:
        project = "project" if small else "decoder_input"
        names |= {f"{project}.{kind}": f"project.{kind}" for kind in ("weight", "bias")}
    for root, stage in roots.items():
        names |= {f"{root}.0.{kind}": f"ups.{stage}.{kind}" for kind in ("weight", "bias")}
        names |= {f"{root}.1.{kind}": f"norms.{stage}.{kind}" for kind in NORM}
    out = f"decoder.{ours.stages}" if small else "final_layer.3"
    return names | {f"{out}.{kind}": f"out.{kind}" for kind in ("weight", "bias")}


def _shapes(ours: DecoderSizes) -> dict[str, tuple[int, ...]]:
    norms = {
        f"norms.{stage}.{kind}": (after,)
        for stage, (_, after) in enumerate(ours.steps())
        for kind in NORM
    }
    return ours.shapes() | norms
