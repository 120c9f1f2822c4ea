"""What a step of each method costs, and how that grows with the images of a class.

    python benchmarks/cost.py [--methods d3 dm dc mtt ...] [--items 1 10 50] [--longest SECONDS]
        [--json FILE]

A step as `d3data distill` takes it on Fashion-MNIST, by the recipe of a method for one image of a
class, also where there are more, with networks of width 32, one thread, float32, not compiled:
`loss` is the time until the loss is known, the rest goes back through it and moves the data.
Seconds are of the processor, the median of `--rounds` steps after the first turn of a network;
experts are untrained and images black, neither of which changes what a step costs. Memory is the
peak of a process of its own over that of one which has everything but took no step. D3 has ten
priors where the others have an image, and takes trajectories and kernels in turn. A number of
images is left out where a step, if it grew with them, would take longer than `--longest`.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch
from distill import Distilling, high_water, processor
from torch import Tensor

from d3data.distill.forecast import ENDLESS
from d3data.distill.recipe import Recipe
from d3data.distill.recipe_files import get_recipe

STUDIES = Path(__file__).parents[1] / "examples" / "studies"
PRIORS = 10  # of D3, for an image of the others
D3 = ["compute.compile=false", "compute.precision=float32", "compute.decoding=float32"]
MMD = 'objective={kind="mmd",samples=24,experts={network={width=32},count=5,epochs=4}}'
METHODS = {
    "d3": (str(STUDIES / "d3-fashion-mnist.toml"), D3),
    "mmd": (str(STUDIES / "d3-fashion-mnist.toml"), [*D3, MMD]),
    "dm": ("dm-fashion-mnist-ipc1", ["objective.network.width=32"]),
    "dc": ("dc-fashion-mnist-ipc1", ["objective.network.width=32"]),
    "dsa": ("dsa-fashion-mnist-ipc1", ["objective.network.width=32"]),
    "mtt": ("mtt-fashion-mnist-ipc1", ["objective.experts.network.width=32"]),
    "dd": ("dd-fashion-mnist-ipc1", ["objective.network.width=32"]),
    "frepo": ("frepo-fashion-mnist-ipc1", ["objective.network.width=32"]),
    "kip": ("kip-fashion-mnist-ipc1", []),
}


def recipe_of(method: str, items: int) -> Recipe:
    """The method's recipe at so many images of each class."""
    name, changes = METHODS[method]
    count = items * (PRIORS if method in ("d3", "mmd") else 1)
    counts = [f"items_per_class={count}", f"draws_per_class={count}"]
    return get_recipe(name, overrides=[*changes, *counts])


def turn(distilling: Distilling, losses: Iterator[Tensor]) -> tuple[float, float]:
    """Seconds of the processor for a step of every child: until its loss is known, and in all."""
    known = whole = 0.0
    for _ in range(distilling.recipe.objective.period):
        begin = time.process_time()
        loss = next(losses)
        known += time.process_time() - begin
        distilling.back(loss)
        whole += time.process_time() - begin
    return known, whole


def peak(method: str, items: int, turns: int) -> tuple[float, list[tuple[float, float]]]:
    """MB at the most, and the seconds of so many turns."""
    torch.set_num_threads(1)
    distilling = Distilling(recipe_of(method, items), steps=ENDLESS)
    losses = distilling.recipe.objective.losses(distilling.source, distilling.context)
    times = [turn(distilling, losses) for _ in range(turns)]
    return high_water(), times


def measured(method: str, items: int, rounds: int) -> dict[str, Any]:
    """A row: milliseconds of a turn and of its loss, MB beyond what is there before it."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        (before, _), (most, times) = (
            pool.apply(peak, (method, items, turns)) for turns in (0, rounds + 1)
        )
    loss, whole = (statistics.median(column) for column in zip(*times[1:], strict=True))
    return {
        "method": method,
        "items": items,
        "step_ms": round(1e3 * whole, 1),
        "loss_ms": round(1e3 * loss, 1),
        "mb": round(most - before, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, help="all")
    parser.add_argument("--items", type=int, nargs="+", default=[1, 10, 50], help="a class")
    parser.add_argument("--rounds", type=int, default=3, help="steps that are timed")
    parser.add_argument("--longest", type=float, default=150.0, help="seconds of a step")
    parser.add_argument("--json", type=Path, help="keep the results here")
    options = parser.parse_args()
    rows = list[dict[str, Any]]()
    for method in options.methods:
        expected = 0.0
        for items, more in zip(options.items, [*options.items[1:], 0], strict=True):
            if expected > options.longest:
                break
            rows.append(measured(method, items, options.rounds))
            expected = rows[-1]["step_ms"] / 1e3 * more / items
            print(json.dumps(rows[-1]), flush=True)
    result = {
        "benchmark": "a step of each method, by the images of a class",
        "date": date.today().isoformat(),
        "hardware": processor(),
        "torch": torch.__version__,
        "threads": 1,
        "rows": rows,
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
