"""Normalization layers by name, for maps (B, C, H, W), vectors (B, D) and tokens (B, T, D)."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from torch import nn

from d3data.errors import TrainingError, UnknownNameError, nearest

Norm = Literal["none", "batch", "instance", "group", "layer"]

NAMES: tuple[Norm, ...] = get_args(Norm)
GROUPS = 4


def _groups(width: int) -> nn.Module:
    if width % GROUPS:
        raise TrainingError(
            f"{width} channels do not divide by the {GROUPS} groups of group norm: choose a width "
            f"that is a multiple of {2 * GROUPS}, or another norm"
        )
    return nn.GroupNorm(GROUPS, width)


Table = Mapping[Norm, Callable[[int], nn.Module]]

per_map: Table = {
    "none": lambda width: nn.Identity(),
    "batch": nn.BatchNorm2d,
    # one group per channel is instance norm, at half its cost on a CPU
    "instance": lambda width: nn.GroupNorm(width, width),
    "group": _groups,
    "layer": lambda width: nn.GroupNorm(1, width),
}
per_vector: Table = {
    "none": lambda width: nn.Identity(),
    "batch": nn.BatchNorm1d,
    "group": _groups,
    "layer": lambda width: nn.GroupNorm(1, width),
}
per_token: Table = {"none": lambda width: nn.Identity(), "layer": nn.LayerNorm}


def check_name(norm: str) -> None:
    """Raise UnknownNameError unless there is such a norm."""
    if norm not in NAMES:
        raise UnknownNameError(f"unknown norm {norm!r}: {nearest(norm, NAMES)}")


def normalize(norm: Norm, width: int, *, table: Table = per_map, of: str = "maps") -> nn.Module:
    """The layer that normalizes `width` channels; TrainingError where the table has none."""
    if norm not in table:
        raise TrainingError(f"there is no {norm} norm of {of}: choose {', '.join(table)}")
    return table[norm](width)
