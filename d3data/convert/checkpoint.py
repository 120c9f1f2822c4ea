"""A checkpoint of D3's published code, as its `torch.save` wrote it, and its decoder as ours.

Qin, Deng, Alvarez-Melis 2024, arXiv 2403.00999, code at commit aebb309. `syn_img` (N, Z, 2) holds
means and log-variances of latents, class after class, `vae_state_dict` the decoder. Of what else
there is, `kernel_num` means something for the small decoder only. Decoders have the same layers
as ours in the same order under other names, and keep batch norms, of which the published code
uses the batch's own statistics everywhere but in one evaluator.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d3data.convert import torch_files
from d3data.errors import FormatError, RecipeError
from d3data.images.spec import Image
from d3data.sources.decoders import Decoder, DecoderSizes, DecoderSpec, sizes
from d3data.utils.text import brief, some

KEYS = ("syn_img", "vae_state_dict", "z_dim", "kernel_num", "im_size", "channel")
CHUNK = 64  # latents decoded at a time
NORM = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds, a subtask: priors (N, Z) each, and the decoder's state."""

    path: Path
    mean: Tensor
    std: Tensor
    state: Mapping[str, Any]
    channels: int
    size: int
    width: object

    @property
    def where(self) -> str:
        """What messages call its decoder."""
        return f"{self.path}: vae_state_dict"

    def decoder_spec(self, image: Image) -> DecoderSpec:
        """What decoder it has, by the names and the width of the first map in its state."""
        if "project.weight" in self.state:
            family = "small"
        else:
            family = "medium" if "decoder_input.weight" in self.state else "large"
        first = self.state.get("decoder.0.0.weight")
        if not isinstance(first, Tensor) or first.ndim != 4:
            raise FormatError(
                f"{self.where} has no decoder.0.0.weight: it is no decoder of D3's code"
            )
        values = {"family": family, "width": first.shape[0], "noise": self.mean.shape[1]}
        spec = DecoderSpec.parse(values, where=self.where, error=FormatError)
        try:
            sizes(spec, image)
        except RecipeError as fault:
            raise FormatError(f"{self.where}: {fault}") from None
        return spec

    def decoder(self, spec: DecoderSpec, image: Image) -> Decoder:
        """The decoder, with its batch norms, not to be trained; all its tensors are checked."""
        ours = sizes(spec, image)
        names, shapes = _names(spec, ours), _shapes(ours)
        counters = {name for name in self.state if name.endswith(f".{COUNTER}")}
        missing = names.keys() - self.state.keys()
        unknown = self.state.keys() - names.keys() - counters
        for fault, wrong in (("lacks", missing), ("has also", unknown)):
            if wrong:
                raise FormatError(
                    f"{self.where} {fault} {some(map(brief, sorted(wrong)), at_most=4)}: it is "
                    f"not the {spec.family} decoder of width {spec.width} for {image.size} pixels"
                )
        tensors = {
            own: torch_files.tensor(
                self.state[name], where=f"{self.where}: {name}", shape=shapes[own]
            )
            for name, own in names.items()
        }
        if any((t < 0).any() for name, t in tensors.items() if name.endswith("running_var")):
            raise FormatError(f"{self.where} has a variance that is negative")
        decoder = Decoder(ours, norm=True).eval().requires_grad_(False)
        decoder.load_state_dict(tensors, strict=False)
        return decoder

    @torch.no_grad()
    def require_finite(self, decoder: Decoder, latents: Tensor) -> None:
        """Refuse a decoder that makes images of latents (B, Z) with values that are not finite."""
        if not all(decoder(piece).isfinite().all() for piece in latents.split(CHUNK)):
            raise FormatError(
                f"{self.where}: images drawn with it have values that are not finite, as latents "
                "or weights are too large; fetch the file again from whoever made it"
            )


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint in a `.pt` file; FormatError where its numbers and shapes disagree."""
    content = torch_files.read(path)
    if not isinstance(content, dict) or set(content) != set(KEYS):
        kind = list(islice(content, 4)) if isinstance(content, dict) else content
        raise FormatError(
            f"{path} holds {brief(kind)}, where a checkpoint of D3 has {', '.join(KEYS)}; soft "
            "labels go to --soft-labels, whose pattern is quoted"
        )
    state, stored, latents = (content[key] for key in ("vae_state_dict", "syn_img", "z_dim"))
    side, channels = content["im_size"], content["channel"]
    sides = list(side) if isinstance(side, tuple) else []
    whole = all(type(n) is int and 0 < n <= 1 << 14 for n in (latents, channels, *sides))
    if not whole or len(sides) != 2 or sides[0] != sides[1]:
        raise FormatError(
            f"{path}: im_size {brief(side)}, channel {brief(channels)}, z_dim {brief(latents)}: "
            "the images must be squares"
        )
    if not isinstance(stored, Tensor) or stored.ndim != 3:
        raise FormatError(f"{path}: syn_img is no tensor (N, Z, 2)")
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise FormatError(f"{path}: vae_state_dict is no dictionary of tensors by name")
    priors = torch_files.tensor(stored, where=f"{path}: syn_img", shape=(len(stored), latents, 2))
    if len(priors) == 0:
        raise FormatError(f"{path}: syn_img has no priors")
    std = priors[:, :, 1].double().mul(0.5).exp().float()
    if not std.isfinite().all():
        raise FormatError(f"{path}: syn_img has log-variances beyond what float32 holds")
    mean = priors[:, :, 0].contiguous()
    return Checkpoint(Path(path), mean, std, state, channels, sides[0], content["kernel_num"])


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
    layers = {f"{root}.0": f"ups.{stage}" for root, stage in roots.items()}
    layers[f"decoder.{ours.stages}" if small else "final_layer.3"] = "out"
    if ours.linear:
        layers["project" if small else "decoder_input"] = "project"
    names = {f"{root}.1.{kind}": f"norms.{n}.{kind}" for root, n in roots.items() for kind in NORM}
    return names | {
        f"{theirs}.{kind}": f"{own}.{kind}"
        for theirs, own in layers.items()
        for kind in ("weight", "bias")
    }


def _shapes(ours: DecoderSizes) -> dict[str, tuple[int, ...]]:
    steps = enumerate(ours.steps())
    norms = {f"norms.{n}.{kind}": (after,) for n, (_, after) in steps for kind in NORM}
    return ours.shapes() | norms
