"""How a blank source is filled before it is distilled: one file and one line a kind of source."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor, nn

from d3data.distill.context import ObjectiveContext
from d3data.distill.engine import Setting, Stage
from d3data.distill.recipe import Recipe
from d3data.distill.starts.gaussian import GaussianStart
from d3data.distill.starts.generator import GeneratorStart
from d3data.distill.starts.pixels import PixelsStart
from d3data.distill.starts.spatial import SpatialStart
from d3data.images.tasks import Task
from d3data.sources.base import Source


class Start(Protocol):
    """How the sources of one kind begin."""

    def steps(self, recipe: Recipe) -> int:
        """How many steps of training it takes."""

    def require_fit(self, recipe: Recipe, task: Task) -> None:
        """Raise D3DataError where it cannot fill the recipe's source from the images of `task`."""

    def training(
        self, source: Source, setting: Setting, context: ObjectiveContext
    ) -> tuple[nn.Module, Iterator[Tensor]] | None:
        """The network that is trained, if any, and its losses: what a forecast counts."""

    def fill(self, source: Source, stage: Stage, setting: Setting) -> None:
        """Fill the tensors of a blank source, from the step that `stage` goes on with.

        Raises:
            DataError: a class has fewer real images than items.
        """


STARTS: dict[str, Start] = {
    "gaussian": GaussianStart(),
    "generator": GeneratorStart(),
    "pixels": PixelsStart(),
    "spatial": SpatialStart(),
}
