"""A source as the tensors of one part: names, shapes, building, counting."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from d3data.images.spec import Image
from d3data.sources.base import Source, purpose
from d3data.sources.decoders import plan
from d3data.sources.gaussian import GaussianSource
from d3data.sources.pixels import PixelsSource
from d3data.sources.residual import BINS
from d3data.sources.specs import GaussianSpec, PixelsSpec

Spec = GaussianSpec | PixelsSpec


def layout(
    spec: Spec,
    image: Image,
    *,
    items: int,
    classes: int,
    labels: int | None = None,
    steps: int = 1,
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a part's tensors, all float32, without building anything.

    Args:
        spec: the kind of source and its sizes.
        image: the images it makes.
        items: N, the items of this part.
        classes: K, the classes of this part.
        labels: the length of a soft label, or None.
        steps: S, the number of step sizes.
    """
    shapes: dict[str, tuple[int, ...]] = {"step_size": (steps,)}
    if labels is not None:
        shapes["labels"] = (items, labels)
    if isinstance(spec, PixelsSpec):
        return shapes | {"pixels": (items, *image.shape)}
    latents = spec.decoder.noise
    rows = {"item": (items,), "class": (classes,), "shared": ()}[spec.std]
    shapes |= {"mean": (items, latents), "std": (*rows, latents)}
    decoder = plan(spec.decoder, image)
    shapes |= {f"decoder.{name}": shape for name, shape in decoder.shapes().items()}
    if spec.residual:
        shapes["residual.axes"] = (image.channels, image.channels)
        shapes["residual.amplitudes"] = (image.channels, BINS)
    return shapes


def published_values(
    spec: Spec, image: Image, *, items: int, classes: int, labels: int | None = None
) -> int:
    """How many values one part holds as papers count them.

    Norms count before they are folded; labels and the residual's spectrum are included, the
    single learned step size is not.
    """
    shapes = layout(spec, image, items=items, classes=classes, labels=labels)
    decoder = plan(spec.decoder, image).parameters() if isinstance(spec, GaussianSpec) else 0
    others = [name for name in shapes if purpose(name) not in ("decoder", "step_size")]
    return decoder + sum(math.prod(shapes[name]) for name in others)


def build(spec: Spec, image: Image, tensors: Mapping[str, Tensor], *, classes: Tensor) -> Source:
    """The source that `tensors` hold, and shares, of items of the given `classes` (N,) int64."""
    labels, step_size = tensors.get("labels"), tensors["step_size"]
    source: Source
    if isinstance(spec, PixelsSpec):
        source = PixelsSource(image, classes=classes, step_size=step_size, labels=labels)
    else:
        source = GaussianSource(spec, image, classes=classes, step_size=step_size, labels=labels)
    source.load_state_dict(dict(tensors), strict=True, assign=True)
    return source.eval()


def blank(
    spec: Spec, image: Image, *, classes: Tensor, step_size: float, labels: int | None = None
) -> Source:
    """A source of the right shapes whose tensors are still to be filled."""
    shapes = layout(spec, image, items=len(classes), classes=len(classes.unique()), labels=labels)
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    tensors["step_size"].fill_(step_size)
    return build(spec, image, tensors, classes=classes)


def tensors(source: Source) -> dict[str, Tensor]:
    """What a part stores of `source`: contiguous float32 on the CPU, standard deviations >= 0."""
    stored = {name: t.detach().cpu().contiguous() for name, t in source.state_dict().items()}
    if "std" in stored:
        stored["std"] = stored["std"].abs()
    return stored
