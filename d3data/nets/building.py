"""Networks by name: the table of families, and how one is built for images of a shape."""

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field

from d3data.errors import TrainingError, UnknownNameError, nearest
from d3data.nets import libraries
from d3data.nets.alexnet import alexnet
from d3data.nets.convnet import convnet
from d3data.nets.lenet import lenet
from d3data.nets.mlp import mlp
from d3data.nets.network import Network
from d3data.nets.norms import Norm, check_name
from d3data.nets.resnet import resnet18, resnet18_ap
from d3data.nets.vgg import vgg11
from d3data.nets.vit import vit, vit_tiny
from d3data.utils.rng import seeded
from d3data.utils.schema import Frozen

# each is called with channels, size and classes, and with width, depth and norm if it has them;
# where images are smaller than its least size, it zero-pads them
families: dict[str, Callable[..., Network]] = {
    "alexnet": alexnet,
    "convnet": convnet,
    "lenet": lenet,
    "mlp": mlp,
    "resnet18": resnet18,
    "resnet18-ap": resnet18_ap,
    "vgg11": vgg11,
    "vit": vit,
    "vit-tiny": vit_tiny,
}


class NetworkSpec(Frozen):
    """A network by name, for images of any shape that it can take.

    Attributes:
        name: one of `list_networks()`, or a classifier of a library, as in `torchvision:resnet50`.
        width: channels, as the family counts them; None is the family's default.
        depth: blocks or layers, as the family counts them; likewise.
        norm: none, batch, instance, group or layer; likewise.
    """

    name: str = "convnet"
    width: int | None = Field(default=None, ge=1, le=4096)
    depth: int | None = Field(default=None, ge=1, le=64)
    norm: Norm | None = None

    def chosen(self) -> dict[str, Any]:
        """Those of width, depth and norm that are not None."""
        return _chosen(width=self.width, depth=self.depth, norm=self.norm)


def list_networks() -> list[str]:
    """The names of d3data's own networks, without those of torchvision and timm."""
    return sorted(families)


def get_network(text: str) -> NetworkSpec:
    """The network of a name: `resnet18`, or `resnet18/batch` with another normalization.

    Raises:
        TrainingError: there is no such normalization.
        UnknownNameError: there is no such network.
    """
    name, slash, norm = text.partition("/")
    values = {"name": name, **({"norm": norm} if slash else {})}
    spec = NetworkSpec.parse(values, where=f"network {text!r}", error=TrainingError)
    _maker(spec.name)
    return spec


def build(
    name: str | NetworkSpec = "convnet",
    *,
    channels: int,
    size: int,
    classes: int,
    width: int | None = None,
    depth: int | None = None,
    norm: Norm | None = None,
    seed: int | None = None,
) -> Network:
    """A freshly initialized network.

    Args:
        name: one of `list_networks()`, `torchvision:MODEL`, `timm:MODEL`, or a spec.
        channels: of the images.
        size: height and width of the images, in pixels.
        classes: width of the output.
        width: channels, as the family counts them; None is that of the spec or the family.
        depth: blocks or layers, likewise.
        norm: none, batch, instance, group or layer, likewise.
        seed: of its weights; without it they come from torch's global generator.

    Raises:
        UnknownNameError: there is no such network or norm.
        TrainingError: the network cannot take the images, or has no such width, depth or norm.
    """
    if norm is not None:
        check_name(norm)
    spec = name if isinstance(name, NetworkSpec) else NetworkSpec(name=name)
    values = {**dict(spec), **_chosen(width=width, depth=depth, norm=norm)}
    spec = NetworkSpec.parse(values, where=spec.name, error=TrainingError)
    make, options = _maker(spec.name)
    for option in sorted(spec.chosen().keys() - options):
        raise TrainingError(
            f"{spec.name} has no choice of {option}: leave {option} out, or use another network"
        )
    with contextlib.nullcontext() if seed is None else seeded(seed, "network"):
        return make(channels=channels, size=size, classes=classes, **spec.chosen())


def check(
    name: str | NetworkSpec = "convnet",
    *,
    channels: int,
    size: int,
    classes: int,
    width: int | None = None,
    depth: int | None = None,
    norm: Norm | None = None,
) -> None:
    """Raise what `build` with the same arguments would, without allocating a network."""
    options = {"channels": channels, "size": size, "classes": classes}
    with torch.device("meta"):  # a seed keeps the global generator where meta cannot be used
        build(name, **options, width=width, depth=depth, norm=norm, seed=0)


def _chosen(**options: Any) -> dict[str, Any]:
    return {option: value for option, value in options.items() if value is not None}


def _maker(name: str) -> tuple[Callable[..., Network], set[str]]:
    """The function that makes the network of that name, and the options that it has."""
    if name in families:
        make = families[name]
        return make, inspect.signature(make).parameters.keys() & {"width", "depth", "norm"}
    library, _, model = name.partition(":")
    if model and library in libraries.makers:
        return libraries.makers[library](model), set()
    others = ", ".join(f"{library}:MODEL" for library in libraries.makers)
    raise UnknownNameError(f"unknown network {name!r}: {nearest(name, families)}; also {others}")
