"""Sets made of a finished one: with more or less noise, with items between its items."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from d3data.artifact.ancestry import rewrite
from d3data.artifact.artifact import Artifact
from d3data.artifact.manifest import Content
from d3data.artifact.part import FLOAT32, Part
from d3data.data.sets import AnySet, as_artifact
from d3data.errors import RecipeError
from d3data.sources import registry
from d3data.utils.rng import generator


def scale_noise(dataset: AnySet, factor: float, *, out: Path) -> Artifact:
    """Write a set whose latents are drawn `factor` times as far from their items' means.

    The noise of a residual field stays.

    Raises:
        RecipeError: items have no noise, or it becomes wider than is allowed.
    """
    old = as_artifact(dataset)
    spec, parts = old.manifest.content.source, list[Part]()
    for part in map(old.part, range(len(old.manifest.content.parts))):
        spec, tensors = old.manifest.content.source.with_noise(factor, part.tensors)
        parts.append(replace(part, tensors=tensors))
    name = f"{old.manifest.about.name}-noise-{factor:g}"
    return rewrite(old, out, name=name, parts=parts, spec=spec)


def interpolate(dataset: AnySet, items_per_class: int, *, out: Path) -> Artifact:
    """Write a set with so many items of each class, each at random between two of the old ones.

    What an item has of its own (its latent, its deviations, its soft label) is
    a + u (b - a) of two items a and b of one class, with u uniform in [0, 1]; stored in float32.

    Raises:
        RecipeError: a class has one item, so there is nothing between two.
    """
    old = as_artifact(dataset)
    content = old.manifest.content
    parts = [
        _interpolated(content, old.part(number), items_per_class)
        for number in range(len(content.parts))
    ]
    name = f"{old.manifest.about.name}-interpolated-{items_per_class}"
    return rewrite(old, out, name=name, parts=parts)


def _interpolated(content: Content, part: Part, items_per_class: int) -> Part:
    if 1 in part.items_per_class:
        raise RecipeError("a class has one item: there is nothing to interpolate between")
    random = generator(0, "interpolate", *part.classes)
    ends, before = list[Tensor](), 0
    for items in part.items_per_class:
        a = torch.randint(items, (items_per_class,), generator=random)
        b = (a + torch.randint(1, items, (items_per_class,), generator=random)) % items
        ends.append(before + torch.stack([a, b]))
        before += items
    a, b = torch.cat(ends, 1)
    u = torch.rand(len(a), generator=random)
    tensors = dict(part.tensors)
    for name in _of_items(content, part):
        old = tensors[name]
        tensors[name] = old[a] + u.view(-1, *[1] * (old.ndim - 1)) * (old[b] - old[a])
    many = (items_per_class,) * len(part.classes)
    return replace(part, items_per_class=many, tensors=tensors, quantization=FLOAT32)


def _of_items(content: Content, part: Part) -> list[str]:
    """The tensors with a row for each item: those that more items make longer."""
    classes, items = len(part.classes), sum(part.items_per_class)
    now, more = (
        registry.layout(
            content.source, content.image, items=n, classes=classes, labels=content.label_values
        )
        for n in (items, items + 1)
    )
    return [name for name, shape in more.items() if shape != now[name]]
