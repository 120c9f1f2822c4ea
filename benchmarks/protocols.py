"""Protocols `dc` and `dsa` on random real images of CIFAR-10, beside what was published.

    python benchmarks/protocols.py DATA [--processes 2] [--out benchmarks/results/protocols.json]

Published: Zhao, Mopuri & Bilen 2021, arXiv 2006.05929, and Zhao & Bilen 2021, arXiv 2102.08259,
means over 5 subsets with 20 networks each. Here 3 subsets with 3 networks each, drawn from the
train images that are not held out. A network takes up to a quarter of an hour of one core; each is
kept in the file as soon as it is done, and the same command goes on.
"""

import argparse
import functools
import json
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path

import torch

from d3data.evaluation import protocols
from d3data.evaluation.baselines import Photographs
from d3data.evaluation.baselines.choices import random_rows
from d3data.evaluation.networks import builders, label
from d3data.evaluation.record import EvalSetup, Trial
from d3data.evaluation.trial_training import run_trial
from d3data.images.tasks import Task, load_task
from d3data.utils.rng import generator

SUBSETS = NETWORKS = 3
# protocol, images per class: accuracy published, and how far from it is still the same
PUBLISHED = {
    ("dc", 1): (14.4, 2.0),
    ("dsa", 1): (15.4, 1.5),
    ("dc", 10): (26.0, 1.5),
    ("dsa", 10): (31.0, 1.5),
}


@functools.cache
def real(data: Path) -> Task:
    return load_task("cifar10", data=data)


def trained(data: Path, name: str, per_class: int, subset: int, seed: int) -> Trial:
    """One network on one random subset, on one thread."""
    torch.set_num_threads(1)
    task, protocol = real(data), protocols.get_protocol(name)
    rows = random_rows(task.train, per_class, generator(subset, "subset", per_class))
    images = Photographs(task.train.read(rows), task.train.labels[rows])
    build = builders([protocol.network], None, task)[label(protocol.network)]
    setup = EvalSetup(task, task.test, protocol, torch.device("cpu"))
    return run_trial(images, build, setup, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of CIFAR-10 as parquet files")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/protocols.json"))
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    done = json.loads(options.out.read_text("utf-8")) if options.out.exists() else {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
        for name, per_class in PUBLISHED:
            waiting = {}
            for subset, network in product(range(SUBSETS), range(NETWORKS)):
                key = f"{name}, {per_class} per class, subset {subset}, network {network}"
                if key not in done:
                    what = (options.data, name, per_class, subset, NETWORKS * subset + network)
                    waiting[pool.submit(trained, *what)] = key
            for finished in as_completed(waiting):
                trial = finished.result()
                done[waiting[finished]] = {
                    "accuracy": trial.accuracy,
                    "seconds": trial.seconds,
                    "date": time.strftime("%Y-%m-%d"),
                    "torch": torch.__version__,
                }
                options.out.write_text(json.dumps(done, indent=1) + "\n", "utf-8")
            tell(name, per_class, done)


def tell(name: str, per_class: int, done: dict[str, dict[str, float]]) -> None:
    wanted = f"{name}, {per_class} per class"
    accuracies = [
        100 * one["accuracy"] for key, one in done.items() if key.startswith(wanted + ",")
    ]
    published, apart = PUBLISHED[name, per_class]
    mean = statistics.fmean(accuracies)
    print(
        f"{wanted}: {mean:.1f} +- {statistics.stdev(accuracies):.1f}, published {published}: "
        f"{'met' if abs(mean - published) <= apart else 'missed'}",
        flush=True,
    )


if __name__ == "__main__":
    main()
