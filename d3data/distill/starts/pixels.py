"""Start images from real ones, or from noise."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from d3data.distill.context import ObjectiveContext
from d3data.distill.engine import Setting, Stage
from d3data.distill.recipe import FirstImages, Recipe
from d3data.errors import DataError
from d3data.images.selection import centers, herd, medoids
from d3data.images.tasks import Task
from d3data.nets.network import features
from d3data.sources.base import Source
from d3data.sources.pixels import PixelsSource

LOT = 1024  # images that are looked at together


class PixelsStart:
    """Training images of each class: random, or chosen by their features; or normal noise."""

    def steps(self, recipe: Recipe) -> int:
        return 0

    def require_fit(self, recipe: Recipe, task: Task) -> None:
        if recipe.warm_start.images != "noise":
            require_images(task, recipe.items(task.train.counts()), of="items")

    def training(self, source: Source, setting: Setting, context: ObjectiveContext) -> None:
        """None."""

    def fill(self, source: Source, stage: Stage, setting: Setting) -> None:
        assert isinstance(source, PixelsSource)
        how, context = setting.recipe.warm_start.images, setting.context(stage)
        random = context.rng("from images", 0)
        if how == "noise":
            noise = torch.randn(source.pixels.shape, generator=random)
            source.pixels.data.copy_(noise)
            return
        require_images(setting.task, [*map(len, source.members)], of="items")
        train = context.task.train
        for label, items in enumerate(source.members):
            if how == "real":
                rows = train.choose(len(items), of=label, rng=random)
            else:
                rows = _chosen(how, len(items), label, context, random)
            source.pixels.data[items] = train.read(rows).to(source.pixels)


def _chosen(
    how: FirstImages, count: int, label: int, context: ObjectiveContext, random: torch.Generator
) -> Tensor:
    """The rows of `count` training images of a class that stand for it."""
    train = context.task.train
    rows = (train.labels == label).nonzero().flatten()
    expert: Any = None
    if context.has_experts:
        expert = context.experts.teacher(0, context.experts.plan.epochs)
    with torch.no_grad():
        lots = (train.read(lot) for lot in rows.split(LOT))
        seen = [lot.flatten(1) if expert is None else features(expert, lot) for lot in lots]
    known = torch.cat(seen).cpu()
    if how == "k-means":
        seed = int(torch.randint(1 << 31, (), generator=random))
        return rows[medoids(known, count, seed)]
    return rows[(herd if how == "herding" else centers)(known, count)]


def require_images(task: Task, items: Sequence[int], *, of: str) -> None:
    """Raise DataError where a class has fewer training images than its `items`."""
    for name, images, wanted in zip(task.classes, task.train.counts(), items, strict=True):
        if images < wanted:
            raise DataError(
                f"class {name!r} has {images} training images for {wanted} {of}: "
                'lower items_per_class, add images, or write items_per_class = "balanced:N", '
                "which takes fewer of such classes"
            )
