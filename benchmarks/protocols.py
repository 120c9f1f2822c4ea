"""Protocols `dc` and `dsa` on random real images of CIFAR-10, beside what was published.

    python benchmarks/protocols.py DATA [--out benchmarks/results/protocols.json]

Published: Zhao, Mopuri & Bilen 2021, arXiv 2006.05929, and Zhao & Bilen 2021, arXiv 2102.08259,
means over 5 subsets with 20 networks each. Here 3 subsets with 3 networks each, drawn from the
train images that are not held out. A network takes up to a quarter of an hour of one core; each is
kept in the file as soon as it is done, and the same command goes on.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from d3data.evaluation import protocols, trials
from d3data.evaluation.baselines.setting import Photographs, drawn
from d3data.evaluation.ground import Ground
from d3data.evaluation.networks import builders, label
from d3data.rng import generator
from d3data.tasks import load_task

SUBSETS = NETWORKS = 3
# protocol, images per class: accuracy published, and how far from it is still the same
PUBLISHED = {
    ("dc", 1): (14.4, 2.0),
    ("dsa", 1): (15.4, 1.5),
    ("dc", 10): (26.0, 1.5),
    ("dsa", 10): (31.0, 1.5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of CIFAR-10 as parquet files")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/protocols.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task("cifar10", data=options.data)
    done = json.loads(options.out.read_text("utf-8")) if options.out.exists() else {}
    for name, per_class in PUBLISHED:
        protocol = protocols.named(name)
        ground = Ground(task, task.test, protocol, torch.device("cpu"))
        build = builders([protocol.network], None, task)[label(protocol.network)]
        for subset in range(SUBSETS):
            rng = generator(subset, "subset", per_class)
            rows = drawn(task.train, per_class, rng)
            images = Photographs(task.train.read(rows), task.train.labels[rows])
            for network in range(NETWORKS):
                key = f"{name}, {per_class} per class, subset {subset}, network {network}"
                if key in done:
                    continue
                seed = NETWORKS * subset + network
                trial = trials.run(images, build, ground, seed=seed)
                done[key] = {
                    "accuracy": trial.accuracy,
                    "seconds": trial.seconds,
                    "date": time.strftime("%Y-%m-%d"),
                    "torch": torch.__version__,
                }
                options.out.write_text(json.dumps(done, indent=1) + "\n", "utf-8")
        accuracies = [
            100 * one["accuracy"]
            for key, one in done.items()
            if key.startswith(f"{name}, {per_class} per class")
        ]
        published, apart = PUBLISHED[name, per_class]
        mean = statistics.fmean(accuracies)
        print(
            f"{name}, {per_class} per class: {mean:.1f} +- {statistics.stdev(accuracies):.1f}, "
            f"published {published}: {'met' if abs(mean - published) <= apart else 'missed'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
