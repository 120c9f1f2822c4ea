"""What the samples of a distilled set look like: one record for `load` and `DistilledDataset`."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import torch

from d3data.data.outputs import Output
from d3data.errors import D3DataError
from d3data.utils import checks


class SampleArguments(TypedDict, total=False):
    """The fields of `SampleOptions` as keyword arguments."""

    seed: int
    draws_per_class: int | None
    transform: Callable[[Any], Any] | None
    target_transform: Callable[[Any], Any] | None
    output: Output
    soft_labels: bool | Literal["auto"]
    as_dict: bool
    device: str | torch.device


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """What a sample of a distilled set is, and which draws an epoch has.

    The fields are the arguments of `d3data.load` of the same names. In detail: an image of output
    "normalized" is float32 (pixel / 255 - mean) / std, not clipped; with output "latent" it is a
    `Latent`, which `DistilledDataset.decode` turns into an image. A soft label is the (K,) float32
    one of the item; other labels are Python numbers, on any device. With `as_dict` a sample is
    {"image", "label", "item", "epoch", "draw"}, or the fields of a `Latent` and "label".

    Raises:
        D3DataError: an option has a value that does not exist.
    """

    seed: int = 0
    draws_per_class: int | None = None
    transform: Callable[[Any], Any] | None = None
    target_transform: Callable[[Any], Any] | None = None
    output: Output = "image"
    soft_labels: bool | Literal["auto"] = "auto"
    as_dict: bool = False
    device: str | torch.device = "cpu"

    def __post_init__(self) -> None:
        if str(self.output) == "normalised":
            warnings.warn(
                "output='normalised' is now spelled output='normalized'",
                DeprecationWarning,
                stacklevel=4,  # the caller of load() or DistilledDataset()
            )
            object.__setattr__(self, "output", "normalized")
        checks.seed(self.seed)
        if not isinstance(self.soft_labels, bool) and self.soft_labels != "auto":
            raise D3DataError(f"soft_labels={self.soft_labels!r}: use True, False or 'auto'")
        for name in ("transform", "target_transform"):
            function = getattr(self, name)
            if function is not None and not callable(function):
                raise D3DataError(f"{name}={function!r}: pass a function, or None")
        if self.output == "latent" and self.transform is not None:
            raise D3DataError(
                "output='latent' has no images that a transform could be applied to: leave "
                "transform out, or choose another output"
            )
