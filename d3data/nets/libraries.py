"""Classifiers of torchvision and timm, freshly initialised: no weights, nothing downloaded.

A model keeps its own dropout, which draws from torch's global generator while it trains, and its
own norms. Fused attention, which some use, has no gradients of gradients.
"""

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from d3data.errors import TrainingError, UnknownNameError, nearest
from d3data.nets.network import Network, shapes_only


def torchvision(model: str) -> Callable[..., Network]:
    """What builds the classifier of that name: gray images as three channels, any image size."""
    library = _library("torchvision.models")
    _check_name("torchvision", model, library.list_models(module=library))
    return functools.partial(_of_torchvision, library, model)


def timm(model: str) -> Callable[..., Network]:
    """What builds the model of that name, without a tag of pretrained weights."""
    library = _library("timm")
    _check_name("timm", model, library.list_models())
    return functools.partial(_of_timm, library, model)


makers = {"torchvision": torchvision, "timm": timm}


def _of_torchvision(library: Any, name: str, *, channels: int, size: int, classes: int) -> Network:
    place = f"torchvision:{name}"
    if channels not in (1, 3):
        raise TrainingError(f"{place} takes images of 1 or 3 channels, not {channels}")
    create = functools.partial(
        library.get_model, name, num_classes=classes, **_settings(name, size)
    )
    try:
        model = _created(create)
    except Exception as failure:  # builders raise of many kinds where the size does not suit
        raise _cannot_take(place, size, failure) from None
    if channels == 1:
        _to_gray(model.get_submodule(_names(model, nn.Conv2d)[0]))
    heads = _names(model, nn.Linear)[-1:]
    classifier = model.get_submodule(heads[0]) if heads else None
    for head in heads:
        model.set_submodule(head, nn.Identity())
    return _checked(place, model, classifier, channels=channels, size=size)


def _of_timm(library: Any, name: str, *, channels: int, size: int, classes: int) -> Network:
    place = f"timm:{name}"
    create = functools.partial(
        library.create_model, name, pretrained=False, num_classes=classes, in_chans=channels
    )
    try:
        try:
            model = _created(functools.partial(create, img_size=size))
        except TypeError:  # it takes images of any size
            model = _created(create)
        classifier = model.get_classifier()
        model.reset_classifier(0)
        _check_patches(model, size)
    except Exception as failure:  # builders raise of many kinds where the size does not suit
        raise _cannot_take(place, size, failure) from None
    return _checked(place, model, classifier, channels=channels, size=size)


def _created(create: Callable[[], Any]) -> Any:
    try:
        return create()
    except NotImplementedError:  # it computes its widths, which the meta device cannot
        with torch.device("cpu"):
            return create()


def _check_patches(model: Any, size: int) -> None:
    """Refuse patches that leave out a margin of the images, which timm does silently."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and size % patch[0]:
        raise ValueError(f"its patches of {patch[0]} px leave {size % patch[0]} px out")


def _checked(place: str, body: nn.Module, head: object, *, channels: int, size: int) -> Network:
    """The network of these two, if they fit together and on the images."""
    try:
        features = shapes_only(body, (2, channels, size, size))
    except Exception as failure:  # layers raise of many kinds where the size does not suit
        raise _cannot_take(place, size, failure) from None
    shape = tuple(features.shape) if isinstance(features, Tensor) else None
    if not isinstance(head, nn.Linear) or shape != (2, head.in_features):
        raise TrainingError(
            f"{place} does not end in one linear layer on features: use another model, or one of "
            "d3data.nets.list_networks()"
        )
    return Network(body, head)


def _settings(name: str, size: int) -> dict[str, Any]:
    """The options of torchvision's builder of that name for images of `size` pixels."""
    if name.startswith("vit_"):
        return {"image_size": size}
    if name.startswith("maxvit_"):
        return {"input_size": (size, size)}
    if name in ("googlenet", "inception_v3"):  # else they have three outputs in training
        return {"aux_logits": False, "init_weights": True}
    return {}


def _to_gray(convolution: nn.Conv2d) -> None:
    """Turn a convolution of three channels into one of a single channel, their sum."""
    convolution.weight = nn.Parameter(convolution.weight.detach().sum(1, keepdim=True))
    convolution.in_channels = 1


def _names(model: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, layer in model.named_modules() if isinstance(layer, kind)]


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as failure:
        package = name.partition(".")[0]
        raise TrainingError(
            f"{package} cannot be imported ({failure}): pip install {package}"
        ) from None


def _check_name(library: str, model: str, known: Sequence[str]) -> None:
    if model not in known:
        near = nearest(model, known)
        advice = near if near.startswith("did") else f"see {library}'s list_models()"
        raise UnknownNameError(f"{library} has no classifier {model!r}: {advice}")


def _cannot_take(place: str, size: int, failure: Exception) -> TrainingError:
    reason = " ".join(str(failure).split())[:120] or type(failure).__name__
    return TrainingError(
        f"{place} cannot take images of {size} px ({reason}): use images of another size (224 px "
        "for most models), or one of d3data.nets.list_networks()"
    )
