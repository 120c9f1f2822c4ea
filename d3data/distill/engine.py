"""The engine: an objective yields losses, optimizers step down them."""

from collections.abc import Sequence

import torch

from d3data.distill.context import ObjectiveContext
from d3data.distill.objectives import Objective
from d3data.distill.stages import Setting, Stage
from d3data.distill.straight_through import StraightThrough
from d3data.nets.checkpoint import Stateful
from d3data.nets.training import Watch, descend, ignore
from d3data.sources.base import Source


def distill(
    source: Source,
    objective: Objective,
    context: ObjectiveContext,
    optimizers: Sequence[torch.optim.Optimizer],
    watch: Watch = ignore,
) -> None:
    """Train `source` on `objective` from `context.start` to `context.steps`.

    Raises:
        TrainingError: a loss is not finite, or the objective ends early.
    """
    losses = objective.losses(source, context)
    descend(losses, optimizers, start=context.start, steps=context.steps, watch=watch)


def optimize(source: Source, stage: Stage, setting: Setting, *, rounded: bool = False) -> None:
    """Take one stage of a recipe: its objective and optimizers on a source that is filled.

    `rounded`: the objective sees what storing leaves of the source.
    """
    recipe, context = setting.recipe, setting.context(stage)
    assert recipe.objective is not None
    parameters = source.train_only(recipe.optimizers)
    optimizers = {
        purpose: spec.build(parameters[purpose]) for purpose, spec in recipe.optimizers.items()
    }

    def objects() -> dict[str, Stateful]:
        stepping = {f"optimizers/{purpose}": o for purpose, o in optimizers.items()}
        kept = {f"kept/{name}": thing for name, thing in context.kept.items()}
        return {"source": source, **stepping, **kept}

    stage.restore(objects())
    if stage.saved is None:
        stage.save(0, objects())
    decayed = [
        optimizers[purpose]
        for purpose, spec in recipe.optimizers.items()
        if spec.schedule == "cosine"
    ]
    seen = StraightThrough(source, recipe.quantization) if rounded else source
    losses = recipe.objective.losses(seen, context)
    stage.train(losses, list(optimizers.values()), decayed, objects)
