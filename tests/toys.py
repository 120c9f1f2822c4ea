"""Small tasks and sources for tests: real digits, tiny sizes."""

import copy
import functools
import os
import shutil

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import ExpertPlan, Experts, NetworkSpec, record
from d3data.distill.objectives import (
    Alternate,
    ExpertAlignment,
    FeatureRegression,
    GradientMatching,
    KernelMatching,
    KernelRegression,
    MeanMatching,
    Objective,
    TrajectoryMatching,
    Unrolled,
    WeightedSum,
)
from d3data.distill.starts import gaussian, generator, spatial
from d3data.images.spec import Image
from d3data.images.tasks import Task, load_task
from d3data.nets.compute import AS_WRITTEN
from d3data.nets.training import descend, ignore
from d3data.sources import registry
from d3data.sources.base import Source, SourceSpec
from d3data.sources.decoders import DecoderSpec
from d3data.sources.gaussian import GaussianSource, GaussianSpec
from d3data.sources.generator import GeneratorSource, GeneratorSpec
from d3data.sources.pixels import PixelsSource, PixelsSpec
from d3data.sources.spatial import SpatialSource, SpatialSpec
from d3data.sources.synthesis import SynthesisSpec

compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler"
)

CPU = torch.device("cpu")
NETWORK = NetworkSpec(width=8)
PLAN = ExpertPlan(network=NETWORK, count=2, epochs=3, batch=64, augment="none")

MTT = TrajectoryMatching(
    experts=PLAN, student_steps=3, expert_epochs=1, max_start_epoch=2, batch=4
)
ALIGN = ExpertAlignment(experts=PLAN, epochs=(0, 3), ahead=1, samples=6, augment="none")
MMD = KernelMatching(experts=PLAN, samples=8, bandwidth="median")


class Companion(Objective):
    """Trains a network beside the source: what `keep` is for."""

    kind: str = "companion"

    def losses(self, source, context):
        blank = NETWORK.build(context.task, 0).to(context.device)
        network = context.keep("network", lambda: blank)
        optimizer = context.keep("adam", lambda: torch.optim.Adam(network.parameters(), lr=0.01))
        for step in context.step_range:
            images, labels = context.task.train.batch(16, rng=context.rng("real", step))
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
            items = torch.arange(len(source.classes))
            drawn = network(source.images(items, context.rng("draws", step)))
            yield F.cross_entropy(drawn, source.classes)


OBJECTIVES: dict[str, Objective] = {
    "mtt": MTT,
    "mmd": MMD,
    "mmd-published": KernelMatching(experts=PLAN, samples=8),
    "dm": MeanMatching(network=NETWORK, samples=6, real=16, augment="siamese-noflip"),
    "dm-by-class": MeanMatching(
        network=NETWORK, samples=6, real=16, augment="siamese-noflip", by_class=True
    ),
    "companion": Companion(),
    "kip": KernelRegression(real=30),
    "frepo": FeatureRegression(
        network=NetworkSpec(width=8, norm="batch"), pool=2, oldest=2, real=32, learning_rate=1e-2
    ),
    "dd": Unrolled(network=NETWORK, groups=2, passes=4, momentum=0.9, real=32),
    "dsa-looped": GradientMatching(
        network=NETWORK, outer=3, inner=2, real=16, batch=4, augment="siamese-noflip"
    ),
    "dm-experts": MeanMatching(experts=PLAN, samples=6, real=16, augment="none"),
    "mmd-window": MMD.model_copy(update={"epochs": (0, 2)}),
    "align": ALIGN,
    "alternate": Alternate(children=(MTT, MMD)),
    "sum": WeightedSum(children=(MTT, MMD), weights=(1.0, 0.5)),
    "matching and alignment": WeightedSum(
        children=(
            MeanMatching(experts=PLAN, epochs=(0, 3), samples=6, real=16, augment="none"),
            ALIGN,
        ),
        weights=(1.0, 2.5),
    ),
}

NETWORK_OF_GENERATOR = SynthesisSpec(width=6, styles=4)
GAUSSIAN = GaussianSpec(decoder=DecoderSpec(family="small", width=8, noise=4))
SPECS: dict[str, SourceSpec] = {
    "gaussian": GAUSSIAN,
    "gaussian-residual": GAUSSIAN.model_copy(update={"residual": True, "std": "class"}),
    "gaussian-shared": GAUSSIAN.model_copy(update={"std": "shared", "values": "normalised"}),
    "medium": GaussianSpec(decoder=DecoderSpec(family="medium", width=8, noise=4)),
    "pixels": PixelsSpec(),
    "spatial": SpatialSpec(channels=2, stages=1, width=4),
    "generator": GeneratorSpec(network=NETWORK_OF_GENERATOR, layer=1, seed=5),
    "generator-stored": GeneratorSpec(network=NETWORK_OF_GENERATOR, layer=0),
}


@functools.cache
def task() -> Task:
    """The digits 0, 1 and 2."""
    return load_task("digits").subtask([0, 1, 2])


def image_of(task: Task) -> Image:
    """The geometry and normalisation of a task."""
    return Image(channels=task.rule.channels, size=task.rule.size, mean=task.mean, std=task.std)


def experts(folder, plan: ExpertPlan = PLAN) -> Experts:
    """Recorded trajectories on the toy task."""
    paths = [folder / plan.file_name(task(), 0, index, AS_WRITTEN) for index in range(plan.count)]
    for index, path in enumerate(paths):
        if not path.exists():
            record(plan, task(), seed=0, index=index, path=path, device=CPU, compute=AS_WRITTEN)
    return Experts(plan, task(), paths, device=CPU)


def context(experts: Experts | None, *, steps: int, **more) -> ObjectiveContext:
    """A context on the toy task."""
    return ObjectiveContext(task(), seed=7, steps=steps, experts=experts, **more)


def distill(source, objective: Objective, context: ObjectiveContext, optimizers, watch=ignore):
    """Take the steps of a context, as the engine does."""
    losses = objective.losses(source, context)
    descend(losses, optimizers, start=context.start, steps=context.steps, watch=watch)


def source(kind: str, *, items_per_class: int = 3) -> Source:
    """A source started from noise, or from real images; two classes have different counts."""
    return copy.deepcopy(_started(kind, items_per_class))


@functools.cache
def _started(kind: str, items_per_class: int) -> Source:
    counts = [items_per_class, items_per_class + 1, items_per_class]
    classes = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    made = registry.blank(SPECS[kind], image_of(task()), classes=classes, step_size=0.02)
    at = context(None, steps=0)
    if isinstance(made, GaussianSource):
        gaussian.from_noise(made, at)
    elif isinstance(made, SpatialSource):
        spatial.from_noise(made, at)
    elif isinstance(made, GeneratorSource):
        spec = made.spec.model_copy(update={"seed": made.spec.seed or 1})
        drawn = generator.random_generator(spec, image_of(task()), 3)
        generator.begin(made, drawn, torch.arange(3), "random", at)
    elif isinstance(made, PixelsSource):
        made.pixels.data.copy_(_real(classes))
    return made


def _real(classes: Tensor) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.cat([task().train.batch(1, of=label, rng=rng)[0] for label in classes.tolist()])


TRAINED = {
    "gaussian": ("priors", "decoder", "step_size"),
    "gaussian-residual": ("priors", "decoder", "residual"),
    "gaussian-shared": ("priors",),
    "medium": ("priors", "decoder"),
    "pixels": ("pixels", "step_size"),
    "spatial": ("priors", "decoder"),
    "generator": ("maps", "styles", "step_size"),
    "generator-stored": ("styles",),
}


def optimizers(source: Source, kind: str, *, haste: float = 1) -> list[torch.optim.Optimizer]:
    """Adam on what a kind of source trains in these tests, `haste` times as fast as is usual."""
    chosen = source.train_only(TRAINED[kind])
    rates = {"step_size": 1e-4, "pixels": 3e-2}
    return [
        torch.optim.Adam(parameters, lr=haste * rates.get(name, 3e-3))
        for name, parameters in chosen.items()
    ]
