"""Start images from real ones."""

from dataclasses import dataclass

import torch

from d3data.distill.context import ObjectiveContext
from d3data.distill.recipe import Recipe
from d3data.distill.stages import Setting, Stage
from d3data.errors import DataError
from d3data.images.tasks import Task
from d3data.sources.base import Source
from d3data.sources.pixels import PixelsSource


@dataclass(frozen=True)
class PixelsStart:
    """Random training images of each class."""

    def steps(self, recipe: Recipe) -> int:
        """None: nothing is trained."""
        return 0

    def needs_images(self, recipe: Recipe) -> bool:
        """Each item is a real image at first."""
        return True

    def training(self, source: Source, setting: Setting, context: ObjectiveContext) -> None:
        """None."""

    def fill(self, source: Source, stage: Stage, setting: Setting) -> None:
        """Copy the images."""
        assert isinstance(source, PixelsSource)
        from_images(source, setting.context(stage))


@torch.no_grad()
def from_images(source: PixelsSource, context: ObjectiveContext) -> None:
    """Real training images of each class, as many as it has items.

    Raises:
        DataError: a class has fewer images.
    """
    random = context.rng("from images", 0)
    for label in range(len(context.task.classes)):
        items = torch.nonzero(source.classes == label).flatten()
        require_images(context.task, label, len(items), of="items")
        images, _ = context.task.train.batch(len(items), of=label, rng=random)
        source.pixels[items] = images.to(source.pixels)


def require_images(task: Task, label: int, items: int, *, of: str) -> None:
    """Raise DataError where a class has fewer training images than `items`."""
    there = task.train.counts()[label]
    if there < items:
        raise DataError(
            f"class {task.classes[label]!r} has {there} training images for {items} {of}: "
            "lower items_per_class, or add images"
        )
