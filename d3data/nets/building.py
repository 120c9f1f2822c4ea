"""Networks by name: the table of families, and building one of them for images of a shape."""

import contextlib
import inspect
from collections.abc import Callable

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
    """A network by name, for images of any shape that it can take; None is the network's own.

    Attributes:
        name: one of `names()`, or a classifier of a library, as in `torchvision:resnet50`.
        width: channels, as the family counts them.
        depth: blocks or layers, as the family counts them.
        norm: none, batch, instance, group or layer.
    """

    name: str = "convnet"
    width: int | None = Field(default=None, ge=1, le=4096)
    depth: int | None = Field(default=None, ge=1, le=64)
    norm: Norm | None = None

    def chosen(self) -> dict[str, int | Norm]:
        """Width, depth and norm, those of them that are not left to the network."""
        wanted = {"width": self.width, "depth": self.depth, "norm": self.norm}
        return {option: value for option, value in wanted.items() if value is not None}


def names() -> tuple[str, ...]:
    """The names of d3data's own networks; those of torchvision and timm come beside them."""
    return tuple(sorted(families))


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
    """A freshly initialised network.

    Args:
        name: one of `names()`, `torchvision:MODEL`, `timm:MODEL`, or a spec.
        channels: of the images.
        size: height and width of the images, in pixels.
        classes: width of the output.
        width: channels, as the family counts them; None is the spec's or the family's own.
        depth: blocks or layers, likewise.
        norm: none, batch, instance, group or layer, likewise.
        seed: of its weights; without it they come from torch's global generator.

    Raises:
        UnknownNameError: there is no such network or norm.
        TrainingError: the network cannot take the images, or has no such width, depth or norm.
    """
    spec = _spec(name, width=width, depth=depth, norm=norm)
    make, options = _maker(spec.name)
    for option in sorted(spec.chosen().keys() - options):
        raise TrainingError(
            f"the {option} of {spec.name} cannot be chosen: leave {option} out, or take another "
            "network"
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
    """Raise what `build` would, at no cost: networks refuse images when they are built.

    The arguments are those of `build`.

    Raises:
        UnknownNameError: there is no such network or norm.
        TrainingError: the network cannot take the images, or has no such width, depth or norm.
    """
    with torch.device("meta"):
        build(
            name,
            channels=channels,
            size=size,
            classes=classes,
            width=width,
            depth=depth,
            norm=norm,
            seed=0,  # the few models that the meta device cannot make leave no trace
        )


def _spec(
    name: str | NetworkSpec, *, width: int | None, depth: int | None, norm: Norm | None
) -> NetworkSpec:
    """The spec of that name, or the one that is given, with what is chosen besides."""
    spec = name if isinstance(name, NetworkSpec) else NetworkSpec(name=name)
    if norm is not None:
        check_name(norm)
    wanted = {"width": width, "depth": depth, "norm": norm}
    besides = {option: value for option, value in wanted.items() if value is not None}
    return NetworkSpec.parse({**dict(spec), **besides}, where=spec.name, error=TrainingError)


def _maker(name: str) -> tuple[Callable[..., Network], set[str]]:
    """What makes the network of that name, and which of its options can be chosen."""
    if name in families:
        make = families[name]
        return make, inspect.signature(make).parameters.keys() & {"width", "depth", "norm"}
    library, _, model = name.partition(":")
    if model and library in libraries.makers:
        return libraries.makers[library](model), set()
    others = ", ".join(f"{library}:MODEL" for library in libraries.makers)
    raise UnknownNameError(f"unknown network {name!r}: {nearest(name, families)}; also {others}")
