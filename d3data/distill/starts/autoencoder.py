"""What starts have in common that fit an autoencoder to the task's images, or begin from noise."""

import abc
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from d3data.distill.context import ObjectiveContext
from d3data.distill.engine import Setting, Stage
from d3data.distill.recipe import Recipe
from d3data.distill.starts.pixels import require_images
from d3data.images.tasks import Task
from d3data.nets.checkpoint import Stateful
from d3data.nets.training import cosine
from d3data.sources.base import Source


class AutoencoderStart(abc.ABC):
    """An autoencoder's latents, or noise where the recipe's warm start has no steps."""

    def steps(self, recipe: Recipe) -> int:
        return recipe.warm_start.steps

    def require_fit(self, recipe: Recipe, task: Task) -> None:
        if recipe.warm_start.steps:
            require_images(task, recipe.items(task.train.counts()), of="items")

    @abc.abstractmethod
    def training(
        self, source: Source, setting: Setting, context: ObjectiveContext
    ) -> tuple[nn.Module, Iterator[Tensor]]:
        """The autoencoder and its losses, one a step."""

    @abc.abstractmethod
    def begin(
        self, source: Source, autoencoder: nn.Module | None, context: ObjectiveContext
    ) -> None:
        """Fill the source from a fitted autoencoder, or from noise."""

    def fill(self, source: Source, stage: Stage, setting: Setting) -> None:
        context = setting.context(stage)
        if not stage.steps:
            self.begin(source, None, context)
            return
        autoencoder, stream = self.training(source, setting, context)
        fit(autoencoder, stream, stage, rate=setting.recipe.warm_start.learning_rate)
        self.begin(source, autoencoder, context)


def fit(network: nn.Module, stream: Iterator[Tensor], stage: Stage, *, rate: float) -> None:
    """Take the steps of a stage on the losses of an autoencoder, from its checkpoint on."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    objects: dict[str, Stateful] = {"autoencoder": network, "optimizer": optimizer}
    stage.restore(objects)
    stage.train(stream, [optimizer], {optimizer: cosine}, lambda: objects)
