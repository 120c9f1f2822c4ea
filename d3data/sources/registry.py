"""The one table of sources, and a source as the tensors of one part."""

import functools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from torch import Tensor

from d3data.images.spec import Image
from d3data.sources.base import Layout, Source, SourceSpec
from d3data.sources.gaussian import GaussianSpec
from d3data.sources.generator import GeneratorSpec
from d3data.sources.pixels import PixelsSpec
from d3data.sources.spatial import SpatialSpec

SPECS: tuple[type[SourceSpec], ...] = (
    GaussianSpec,
    GeneratorSpec,
    PixelsSpec,
    SpatialSpec,
)

if TYPE_CHECKING:
    AnySource = SourceSpec
else:  # what recipes and manifests may hold, told apart by `kind`
    AnySource = Annotated[functools.reduce(operator.or_, SPECS), Field(discriminator="kind")]


def layout(
    spec: SourceSpec,
    image: Image,
    *,
    items: int,
    classes: int,
    labels: int | None = None,
    steps: int = 1,
) -> Layout:
    """Names and shapes of a part's tensors, all float32, without building anything.

    `labels` is the length of a soft label, or None, and `steps` S, the number of step sizes.
    """
    shared: Layout = {"step_size": (steps,)}
    if labels is not None:
        shared["labels"] = (items, labels)
    return shared | spec.layout(image, items=items, classes=classes)


def published_values(
    spec: SourceSpec, image: Image, *, items: int, classes: int, labels: int | None = None
) -> int:
    """How many values one part holds as papers count them.

    Norms count before they are folded; labels and the residual's spectrum are included, the
    single learned step size is not.
    """
    return spec.published_values(image, items=items, classes=classes) + items * (labels or 0)


def build(
    spec: SourceSpec, image: Image, tensors: Mapping[str, Tensor], *, classes: Tensor
) -> Source:
    """The source that `tensors` hold, and shares, of items of the given `classes` (N,) int64."""
    labels, step_size = tensors.get("labels"), tensors["step_size"]
    source = spec.build(image, classes=classes, step_size=step_size, labels=labels)
    source.load_state_dict(dict(tensors), strict=True, assign=True)
    return source.eval()


def blank(
    spec: SourceSpec,
    image: Image,
    *,
    classes: Tensor,
    step_size: float,
    steps: int = 1,
    labels: int | None = None,
) -> Source:
    """A source of the right shapes whose tensors are still to be filled; `steps` step sizes."""
    counts = {"items": len(classes), "classes": len(classes.unique()), "steps": steps}
    shapes = layout(spec, image, labels=labels, **counts)
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    tensors["step_size"].fill_(step_size)
    return build(spec, image, tensors, classes=classes)
