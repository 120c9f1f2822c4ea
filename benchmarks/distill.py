"""An iteration of D3 beside one that is written down as its algorithm says.

    python benchmarks/distill.py [--widths 32 128] [--rounds 5] [--threads 1] [--json FILE]
    python benchmarks/distill.py --growth   over T, classes, items, size and width

An iteration matches a trajectory, then kernels (arXiv 2403.00999, Algorithm 1). Ours is measured
as it is, with all graphs stored, and compiled, always in float32. The plain one keeps the graphs
of all steps of the student, as its authors do, decodes all samples into one graph, and loops over
classes. All take turns in one process on the same experts, which are untrained, and on black
images: neither changes what a step costs. What is compiled is so before the clock runs. Memory is
the peak of a process of its own over that of one which has everything but took no step; of a
compiled one, the compiler's own processes are not in it.
"""

import argparse
import json
import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from d3data.distill import prepare
from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import ExpertPlan, NetworkSpec, UnrecordedExperts
from d3data.distill.jobs import blank
from d3data.distill.objectives import Alternate, KernelMatching, TrajectoryMatching
from d3data.distill.objectives.base import sample_items, sample_real
from d3data.distill.recipe import Optimizer, Recipe, WarmStart
from d3data.distill.starts.gaussian import from_noise
from d3data.images.tasks import TaskSpec
from d3data.nets.compute import Compute
from d3data.sources.base import Source
from d3data.sources.decoders import DecoderSpec
from d3data.sources.gaussian import GaussianSource, GaussianSpec
from d3data.utils.device import Resources

SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True)
class Case:
    """What is distilled: `items` priors of each class, `size` pixels, networks of a `width`."""

    width: int = 32
    steps: int = 10  # of the student, T
    items: int = 10
    task: str = "cifar10"
    size: int = 32
    samples: int = 30

    def recipe(self, *, stored: bool = False, compiled: bool = False) -> Recipe:
        experts = ExpertPlan(network=NetworkSpec(width=self.width), count=1, epochs=4)
        trajectory = TrajectoryMatching(
            experts=experts, student_steps=self.steps, max_start_epoch=2, stored=stored
        )
        kernels = KernelMatching(experts=experts, samples=self.samples)
        return Recipe(
            name="benchmark",
            description="an iteration of D3",
            items_per_class=self.items,
            steps=2,
            step_size=0.01,
            task=TaskSpec(name=self.task, size=self.size),
            source=GaussianSpec(
                decoder=DecoderSpec(family="small", width=64, noise=64), residual=False
            ),
            warm_start=WarmStart(steps=0),
            objective=Alternate(children=(trajectory, kernels)),
            compute=Compute(compile=compiled),
            optimizers={
                "priors": Optimizer(kind="sgd", learning_rate=3e-4),
                "decoder": Optimizer(learning_rate=3e-4),
                "step_size": Optimizer(kind="sgd", learning_rate=1e-6),
            },
        )


class Distilling:
    """A source and its context, ready to take steps, from noise and on black images."""

    def __init__(self, recipe: Recipe, *, steps: int = 2) -> None:
        self.recipe = recipe
        with tempfile.TemporaryDirectory() as folder:
            plan = prepare(
                self.recipe, out=f"{folder}/run", resources=Resources("cpu", 1), imagine=True
            )
        task, wanted = plan.task, self.recipe.objective.expert_plan
        self.source: Source = blank(self.recipe, task, classes=range(len(task.classes)))
        experts = wanted and UnrecordedExperts(wanted, task, [], device=torch.device("cpu"))
        self.context = ObjectiveContext(
            task, seed=0, steps=steps, experts=experts, compute=self.recipe.compute
        )
        if isinstance(self.source, GaussianSource):
            from_noise(self.source, self.context)
        else:
            for value in self.source.parameters():
                value.data.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
        groups = self.source.train_only(self.recipe.optimizers)
        self.optimizers = [s.build(groups[p]) for p, s in self.recipe.optimizers.items()]

    def descend(self, losses: Iterator[Tensor]) -> None:
        for loss in losses:
            self.back(loss)

    def back(self, loss: Tensor) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()

    def ours(self) -> None:
        self.descend(self.recipe.objective.losses(self.source, self.context))

    def plain(self) -> None:
        rng = torch.Generator().manual_seed(0)
        self.descend(iter([self._trajectory(rng)]))
        self.descend(iter([self._kernels(rng)]))

    def _trajectory(self, rng: torch.Generator) -> Tensor:
        objective, source = self.recipe.objective.children[0], self.source
        network = self.context.experts.network()
        shapes = {name: value.shape for name, value in network.named_parameters()}
        start, target = (self.context.experts.snapshot(0, epoch) for epoch in (0, 2))
        theta = start.clone().requires_grad_()
        labels, rate = source.classes, F.leaky_relu(source.step_size, 0.01) + 1e-4
        everything = torch.arange(len(labels))
        for step in range(objective.student_steps):
            parts = theta.split([shape.numel() for shape in shapes.values()])
            named = {n: p.view(s) for (n, s), p in zip(shapes.items(), parts, strict=True)}
            logits = functional_call(network, named, source.images(everything, rng))
            loss = F.cross_entropy(logits, labels)
            (slope,) = torch.autograd.grad(loss, theta, create_graph=True)
            theta = theta - rate.flatten()[min(step, rate.numel() - 1)] * slope
        return (theta - target).square().sum() / (start - target).square().sum()

    def _kernels(self, rng: torch.Generator) -> Tensor:
        objective, source = self.recipe.objective.children[1], self.source
        network = self.context.experts.trained(0, self.context.experts.plan.epochs)
        items = sample_items(source, objective.samples, rng)
        images = source.images(items.flatten(), rng).unflatten(0, items.shape)
        losses = []
        for own, real in zip(
            images, sample_real(self.context, objective.samples, rng), strict=True
        ):
            x = network.features(own).flatten(1)
            with torch.no_grad():
                y = network.features(real).flatten(1)
            xx, yy, xy = (kernel(a, b) for a, b in ((x, x), (y, y), (x, y)))
            n = len(x)
            within = [(k.sum() - k.diagonal().sum()) / (n * (n - 1)) for k in (xx, yy)]
            losses.append(sum(within) - 2 * xy.mean())
        return torch.stack(losses).sum()


def kernel(x: Tensor, y: Tensor) -> Tensor:
    apart = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return sum(torch.exp(-apart / (2 * scale**2)) for scale in SCALES)


def seconds(step: Callable[[], None]) -> float:
    """Of the processor, which other programs do not lengthen."""
    begin = time.process_time()
    step()
    return time.process_time() - begin


WAYS: dict[str, dict[str, bool]] = {
    "ours": {},
    "stored": {"stored": True},
    "compiled": {"compiled": True},
    "plain": {},
}


def _iteration(case: Case, way: str) -> Callable[[], None]:
    distilling = Distilling(case.recipe(**WAYS[way]))
    return distilling.plain if way == "plain" else distilling.ours


def _peak(case: Case, way: str, steps: int, threads: int) -> float:
    torch.set_num_threads(threads)
    step = _iteration(case, way)
    for _ in range(steps):
        step()
    return high_water()


def high_water() -> float:
    """MB that this process held at the most."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def megabytes(case: Case, way: str, *, threads: int = 1) -> float:
    """What an iteration takes beyond what is there before it."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        before, peak = (pool.apply(_peak, (case, way, steps, threads)) for steps in (0, 1))
    return peak - before


def compared(case: Case, *, rounds: int, threads: int) -> dict[str, float]:
    """Each way over the plain one: time and memory."""
    torch.set_num_threads(threads)
    steps = {way: _iteration(case, way) for way in WAYS}
    for step in steps.values():
        step()
    times = [{way: seconds(step) for way, step in steps.items()} for _ in range(rounds)]
    median = {way: statistics.median(one[way] for one in times) for way in WAYS}
    memory = {way: megabytes(case, way, threads=threads) for way in WAYS}
    return {
        **{f"{way}_ms": round(1e3 * one, 1) for way, one in median.items()},
        **{f"{way}_mb": round(one, 1) for way, one in memory.items()},
        **{f"{way}_time_ratio": round(median[way] / median["plain"], 3) for way in WAYS},
        **{f"{way}_memory_ratio": round(memory[way] / memory["plain"], 3) for way in WAYS},
    }


GROWTH: dict[str, list[Case]] = {
    "T": [Case(steps=t) for t in (5, 10, 20, 40)],
    "items": [Case(items=n) for n in (1, 5, 10, 50)],
    "classes": [Case(), Case(task="cifar100", items=1)],
    "size": [Case(size=s) for s in (16, 32, 64)],
    "width": [Case(width=w) for w in (16, 32, 64, 128)],
}


def processor() -> str:
    """As Linux names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.split(": ")[1] for line in lines if "model name" in line), platform.machine()
    )


def main() -> None:
    """Measure, print, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = {f"width {w}": [replace(Case(), width=w)] for w in options.widths}
    found = {}
    for name, several in (GROWTH if options.growth else cases).items():
        for case in several:
            row = compared(case, rounds=options.rounds, threads=options.threads)
            found[f"{name}: {case}"] = row
            print(f"{name}: {case}")
            print("   ", ", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    result = {
        "benchmark": "an iteration of D3 over a plain one",
        "date": date.today().isoformat(),
        "hardware": processor(),
        "torch": torch.__version__,
        "threads": options.threads,
        "rows": found,
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
