"""Start images from real ones."""

from collections.abc import Sequence

from d3data.distill.context import ObjectiveContext
from d3data.distill.engine import Setting, Stage
from d3data.distill.recipe import Recipe
from d3data.errors import DataError
from d3data.images.tasks import Task
from d3data.sources.base import Source
from d3data.sources.pixels import PixelsSource


class PixelsStart:
    """Random training images of each class."""

    def steps(self, recipe: Recipe) -> int:
        return 0

    def needs_images(self, recipe: Recipe) -> bool:
        return True

    def training(self, source: Source, setting: Setting, context: ObjectiveContext) -> None:
        """None."""

    def fill(self, source: Source, stage: Stage, setting: Setting) -> None:
        assert isinstance(source, PixelsSource)
        random = setting.context(stage).rng("from images", 0)
        require_images(setting.task, [*map(len, source.members)], of="items")
        for label, items in enumerate(source.members):
            images, _ = setting.task.train.batch(len(items), of=label, rng=random)
            source.pixels.data[items] = images.to(source.pixels)


def require_images(task: Task, items: Sequence[int], *, of: str) -> None:
    """Raise DataError where a class has fewer training images than its `items`."""
    for name, images, wanted in zip(task.classes, task.train.counts(), items, strict=True):
        if images < wanted:
            raise DataError(
                f"class {name!r} has {images} training images for {wanted} {of}: "
                'lower items_per_class, add images, or write items_per_class = "balanced:N", '
                "which takes fewer of such classes"
            )
