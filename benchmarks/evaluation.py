"""Steps a second of protocol `standard` on a set, over a bare loop on a tensor of its images.

    python benchmarks/evaluation.py [--json benchmarks/results/evaluation.json] [--rounds 5]

The bare loop has the same network, optimizer and augmentation, and images that were decoded
before. The set has random tensors, a small decoder of 61 k parameters, 32x32 colour images and 10
classes. The two take turns, in rounds; the median of the rounds' ratios counts.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from loader import a_set
from torch.nn.functional import cross_entropy

import d3data
from d3data import nets
from d3data.evaluation.protocols import Protocol, get_protocol
from d3data.evaluation.record import EvalSetup
from d3data.evaluation.trial_training import TrialTraining
from d3data.images.augment import augmentation
from d3data.images.tasks import Task
from d3data.utils.rng import generator

STEPS = 25  # of 1,500; what is looked at on validation images comes after 150, a 58th of the work


class Enough(Exception):
    pass


def bare(images: torch.Tensor, labels: torch.Tensor, protocol: Protocol) -> float:
    network = nets.build(protocol.network, channels=3, size=32, classes=10, seed=0)
    optimizer = torch.optim.SGD(network.parameters(), 1e-6, momentum=0.9, weight_decay=5e-4)
    change, rng = augmentation(protocol.augment), generator(0)
    began = time.perf_counter()
    for _ in range(STEPS):
        some = torch.randint(len(images), (protocol.batch,))
        loss = cross_entropy(network(change(images[some], rng)), labels[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return STEPS / (time.perf_counter() - began)


def ours(data: d3data.DistilledDataset, task: Task, protocol: Protocol) -> float:
    network = nets.build(protocol.network, channels=3, size=32, classes=10, seed=0)
    setup = EvalSetup(task, task.validation, protocol, torch.device("cpu"))
    training = TrialTraining(network, data, setup, seed=0, rate=1e-6)

    def watch(step: int, loss: torch.Tensor) -> None:
        if step + 1 == STEPS:
            raise Enough

    began = time.perf_counter()
    with contextlib.suppress(Enough):
        training.run(None, watch)
    return STEPS / (time.perf_counter() - began)


def a_task(data: d3data.DistilledDataset) -> Task:
    """The digits' task with images of the set's shape: a validation split to look at."""
    task = d3data.load_task("digits", size=32, channels=3)
    assert len(task.classes) == len(data.classes)
    return task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    protocol = get_protocol("standard")
    with tempfile.TemporaryDirectory() as place:
        data = d3data.load(a_set(Path(place) / "set", 32).folder, output="normalized")
        images, labels = data.batch(0, range(2560))
        task = a_task(data)
        pairs = [
            (ours(data, task, protocol), bare(images, labels, protocol))
            for _ in range(options.rounds + 1)
        ][1:]
    ratio = statistics.median(a / b for a, b in pairs)
    page = {
        "benchmark": "standard on a set over a bare loop on its images",
        "date": time.strftime("%Y-%m-%d"),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "steps_per_second": statistics.median(a for a, _ in pairs),
        "bare_steps_per_second": statistics.median(b for _, b in pairs),
        "ratio": ratio,
        "bar": 0.9,
        "met": ratio >= 0.9,
    }
    print(json.dumps(page, indent=1))
    if options.json:
        options.json.write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
