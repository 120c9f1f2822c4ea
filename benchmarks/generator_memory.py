"""What latents of a generator take in memory while a student is unrolled on their images.

    python benchmarks/generator_memory.py --data FOLDER [--sizes 128 256] [--steps 1 4 16]

For each size of images and number of inner steps, two steps of `dd` on one latent of each of ten
classes, in a process of its own: the peak of its memory beyond what it held before, in MB, as it
is, and where images keep their graph (`plain`). Flat in the steps means that neither the graphs
of the student's steps nor the generator add up. A quarter of an hour of two cores.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from d3data import load_task
from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import NetworkSpec
from d3data.distill.jobs import image_of
from d3data.distill.objectives import Unrolled
from d3data.distill.starts import generator as start
from d3data.sources import generator, registry
from d3data.sources.generator import GeneratorSpec
from d3data.sources.synthesis import SynthesisSpec

NETWORK = SynthesisSpec(width=128, base=4096, styles=64)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--one", nargs=3)
    options = parser.parse_args()
    if options.one:
        size, steps, plain = map(int, options.one)
        print(json.dumps(measured(options.data, size, steps, plain=bool(plain))))
        return
    for size in options.sizes:
        for plain in (0, 1):
            for steps in options.steps:
                words = ["--data", options.data, "--one", *map(str, (size, steps, plain))]
                run = [sys.executable, __file__, *words]
                print(size, "plain" if plain else "ours", steps, end=" ", flush=True)
                print(
                    subprocess.run(run, check=True, capture_output=True, text=True).stdout, end=""
                )


def measured(data: str, size: int, steps: int, *, plain: bool) -> dict[str, float]:
    """MB at the peak beyond those before, and seconds of a step."""
    task = load_task("imagenette", data=data, size=size).subtask(range(10))
    spec = GeneratorSpec(network=NETWORK, layer=5, seed=0)
    classes = torch.arange(10)
    source = registry.blank(spec, image_of(task), classes=classes, step_size=0.01)
    context = ObjectiveContext(task, seed=0, steps=2)
    given = start.random_generator(spec, image_of(task), 10)
    start.begin(source, given, classes, "random", context)
    source.train_only(("maps", "styles"))
    network = NetworkSpec(width=32, depth=5)
    objective = Unrolled(network=network, passes=steps, real=20, augment="none")
    if plain:
        generator.checkpoint = lambda make, *inputs, **_: make(*inputs)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    for loss in objective.losses(source, context):
        loss.backward()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"MB": round((peak - before) / 1024), "s": (time.perf_counter() - began) / 2}


if __name__ == "__main__":
    main()
