"""The networks of a report: the protocol's, others by name, or the user's own."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import nn

from d3data import nets
from d3data.errors import D3DataError, TrainingError
from d3data.evaluation.record import Build
from d3data.images.tasks import Task
from d3data.nets import Network, NetworkSpec, get_network
from d3data.utils.rng import seeded

FAMILIES, NORMS = ("convnet", "alexnet", "vgg11", "resnet18"), ("none", "instance", "batch")
ALL = (*(f"{family}/{norm}" for family in FAMILIES for norm in NORMS), "vit-tiny")

OwnNetwork = Callable[..., nn.Module]  # (channels=, size=, classes=) -> network


def label(spec: NetworkSpec) -> str:
    """What reports call a network.

    >>> label(NetworkSpec(width=64)), label(get_network("resnet18/batch"))
    ('convnet-w64', 'resnet18/batch')
    """
    size = f"-w{spec.width}" * bool(spec.width) + f"-d{spec.depth}" * bool(spec.depth)
    return f"{spec.name}{size}{f'/{spec.norm}' if spec.norm else ''}"


def wanted(texts: Iterable[str] | str | None, default: NetworkSpec) -> list[NetworkSpec]:
    """The networks that are asked for by name, `ALL` of them, or the default."""
    if texts is None:
        return [default]
    texts = ALL if texts == "all" else [texts] if isinstance(texts, str) else list(texts)
    if not texts:
        raise TrainingError("nets names no network: name at least one, or leave nets out")
    return [get_network(text) for text in texts]


def builders(
    specs: Iterable[NetworkSpec], own: Mapping[str, OwnNetwork] | None, task: Task
) -> dict[str, Build]:
    """The function that builds each network for a task's images, by the network's label.

    Each must take the images and give a logit for each class.
    """
    shape = {"channels": task.channels, "size": task.size, "classes": len(task.classes)}
    known = {label(spec): partial(nets.build, spec) for spec in specs}
    makers: Mapping[str, OwnNetwork] = known if own is None else own
    if not makers:
        raise TrainingError("networks holds no network: add at least one, or leave networks out")
    for name, make in makers.items():
        _require_logits(name, make, shape)
    return {name: partial(make, **shape) for name, make in makers.items()}


def have_features(builds: Iterable[Build]) -> bool:
    """Whether all of these networks can be teachers: they are d3data's own."""
    with seeded(0, "check"):
        return all(isinstance(build(), Network) for build in builds)


def _require_logits(name: str, make: OwnNetwork, shape: Mapping[str, int]) -> None:
    channels, size, classes = shape.values()
    try:
        with seeded(0, "check"), torch.no_grad():
            logits = make(**shape)(torch.zeros(2, channels, size, size))
    except D3DataError:
        raise
    except Exception as failure:  # networks of the user's own may raise anything
        raise TrainingError(
            f"the network {name} cannot be built for {classes} classes, or cannot take two images "
            f"of {channels}x{size}x{size}: {type(failure).__name__}: {failure}"
        ) from failure
    output = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if output != (2, classes):
        raise TrainingError(
            f"the network {name} returns {output} for two images of {classes} classes: it must "
            f"return logits of shape (2, {classes})"
        )
