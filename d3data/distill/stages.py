"""The two stages of a subtask, warm start and distillation, each resumable at every step."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from d3data.distill import warm_start
from d3data.distill.context import Workbench
from d3data.distill.engine import distill
from d3data.distill.experts import ExpertPlan, Experts
from d3data.distill.objectives import Objective
from d3data.distill.progress import JobProgress, MetricsLog
from d3data.distill.recipe import Recipe
from d3data.distill.straight_through import StraightThrough
from d3data.distill.warm_start import Autoencoder
from d3data.images.tasks import Task
from d3data.nets.checkpoint import Checkpoint, Saved, Stateful
from d3data.nets.training import Watch, cosine, descend, scheduled
from d3data.sources.base import Source
from d3data.sources.gaussian import GaussianSource
from d3data.sources.pixels import PixelsSource
from d3data.utils import rng


@dataclass(frozen=True)
class Setting:
    """What both stages of one subtask work with."""

    recipe: Recipe
    task: Task
    seed: int
    device: torch.device
    experts: Experts | None = None

    def bench(self, stage: "Stage") -> Workbench:
        """The workbench of a stage, from the step that it goes on with."""
        return Workbench(
            self.task,
            seed=self.seed,
            steps=stage.steps,
            experts=self.experts,
            device=self.device,
            compute=self.recipe.compute,
            start=stage.start,
            restored=stage.saved.within("kept/") if stage.saved else None,
        )


@dataclass(frozen=True)
class Stage:
    """So many steps of a subtask that save themselves when it is time.

    `saved` is the checkpoint that it goes on from, None at its beginning.
    """

    name: str
    steps: int
    checkpoint: Checkpoint
    journal: MetricsLog
    saved: Saved | None

    @property
    def start(self) -> int:
        """The step that it goes on with."""
        return self.saved.step if self.saved else 0

    def restore(self, objects: Mapping[str, Stateful]) -> None:
        """Give the objects the state that they had when the stage was left."""
        if self.saved:
            for name, thing in objects.items():
                thing.load_state_dict(self.saved.states[name])

    def save(self, step: int, objects: Mapping[str, Stateful]) -> None:
        """Save the objects as they are before `step`."""
        self.checkpoint.save(self.name, step, {**objects, "journal": self.journal})

    def watch(self, objects: Callable[[], Mapping[str, Stateful]]) -> Watch:
        """Note every step down, and save the objects when that is due."""

        def watch(step: int, loss: Tensor) -> None:
            self.journal.add(JobProgress(self.name, step + 1, self.steps, loss.item()))
            if self.checkpoint.due:
                self.save(step + 1, objects())

        return watch


def warm_up(source: Source, stage: Stage, setting: Setting) -> None:
    """Fill a blank source as the recipe's warm start says."""
    config, bench = setting.recipe.warm_start, setting.bench(stage)
    if isinstance(source, PixelsSource):
        warm_start.from_images(source, bench)
        return
    assert isinstance(source, GaussianSource)
    if config.steps == 0:
        warm_start.from_noise(source, bench)
        return
    with rng.seeded(setting.seed, "autoencoder"):
        autoencoder = Autoencoder(source.spec, source.image, width=config.width)
    autoencoder.to(setting.device)
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=config.learning_rate)
    objects: dict[str, Stateful] = {"autoencoder": autoencoder, "optimizer": optimizer}
    stage.restore(objects)
    losses = warm_start.losses(config, autoencoder, source, bench)
    slowing = scheduled(losses, optimizer, falling(stage.steps), start=stage.start)
    watch = stage.watch(lambda: objects)
    descend(slowing, [optimizer], start=stage.start, steps=stage.steps, watch=watch)
    warm_start.fill(source, autoencoder, bench)


def optimize(source: Source, stage: Stage, setting: Setting, *, rounded: bool = False) -> None:
    """Distil a filled source on the objective; `rounded`, on what storing leaves of it."""
    recipe, bench = setting.recipe, setting.bench(stage)
    assert recipe.objective is not None
    parameters = source.train_only(recipe.optimizers)
    optimizers = {
        purpose: spec.build(parameters[purpose]) for purpose, spec in recipe.optimizers.items()
    }

    def objects() -> dict[str, Stateful]:
        stepping = {f"optimizers/{purpose}": o for purpose, o in optimizers.items()}
        kept = {f"kept/{name}": thing for name, thing in bench.kept.items()}
        return {"source": source, **stepping, **kept}

    stage.restore(objects())
    if stage.saved is None:
        stage.save(0, objects())
    slowing = [
        optimizers[purpose]
        for purpose, spec in recipe.optimizers.items()
        if spec.schedule == "cosine"
    ]
    paced = Paced(recipe.objective, slowing)
    seen = StraightThrough(source, recipe.quantization) if rounded else source
    distill(seen, paced, bench, list(optimizers.values()), watch=stage.watch(objects))


@dataclass(frozen=True)
class Paced:
    """An objective whose steps bring the rates of some optimizers down to 0 along a cosine."""

    objective: Objective
    slowing: list[torch.optim.Optimizer]

    @property
    def experts(self) -> ExpertPlan | None:
        """Those of the objective."""
        return self.objective.experts

    def losses(self, source: Source, bench: Workbench) -> Iterator[Tensor]:
        """Pass the objective's losses on, each once the rates are those of its step."""
        losses = self.objective.losses(source, bench)
        for optimizer in self.slowing:
            losses = scheduled(losses, optimizer, falling(bench.steps), start=bench.start)
        return losses


def falling(steps: int) -> Callable[[int], float]:
    """The factor on a learning rate at a step: half a cosine from 1 to 0."""
    return lambda step: cosine(step, steps)
