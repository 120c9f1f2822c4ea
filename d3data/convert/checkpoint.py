"""A checkpoint of D3's published code: one subtask, as its `torch.save` wrote it.

`syn_img` (N, Z, 2) holds means and log-variances of latents, class after class, `vae_state_dict`
the decoder. Of what else there is, `kernel_num` means something for the small decoder only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from d3data.convert import torch_files
from d3data.errors import FormatError
from d3data.utils.text import brief

KEYS = ("syn_img", "vae_state_dict", "z_dim", "kernel_num", "im_size", "channel")


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds: priors (N, Z) each, and the decoder's state."""

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


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint in a `.pt` file.

    Raises:
        FormatError: it is none, or its numbers and shapes disagree.
    """
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
    return Checkpoint(
        path=Path(path),
        mean=priors[:, :, 0].contiguous(),
        std=std,
        state=state,
        channels=channels,
        size=sides[0],
        width=content["kernel_num"],
    )
