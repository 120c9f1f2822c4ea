"""How many times as fast networks train compiled, and in bfloat16, as they do as written.

    python benchmarks/computing.py [--rounds 7] [--steps 5] [--json results.json]

Forward and backward passes of the field's ConvNet on 128 images of 3 x 32 x 32, on one thread. All
ways take turns; the ratios of median times are the numbers.
"""

import argparse
import json
import platform
import statistics
import time
from datetime import date
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.nets.convnet import convnet
from d3data.nets.network import logits

WIDTHS = (32, 64, 128)
FASTER = {
    "compiled": Compute(compile=True),
    "compiled, bfloat16": Compute(compile=True, precision="bfloat16"),
}


def seconds(compute: Compute, network: nn.Module, images: Tensor, labels: Tensor, steps: int):
    """Seconds of one step."""
    begin = time.perf_counter()
    for _ in range(steps):
        network.zero_grad()
        cross_entropy(compute(logits, network, images), labels).backward()
    return (time.perf_counter() - begin) / steps


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = torch.randn(128, 3, 32, 32), torch.arange(128) % 10
    result = {
        "benchmark": "steps of a ConvNet as written over compiled ones, 1 thread",
        "date": date.today().isoformat(),
        "hardware": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    for width in WIDTHS:
        network = convnet(channels=3, size=32, classes=10, width=width)
        ways = [AS_WRITTEN, *FASTER.values()]
        for compute in ways:
            seconds(compute, network, images, labels, 2)
        rounds = [
            [seconds(compute, network, images, labels, options.steps) for compute in ways]
            for _ in range(options.rounds)
        ]
        written, *faster = (statistics.median(times) for times in zip(*rounds, strict=True))
        result[f"width {width}, ms as written"] = round(1e3 * written, 1)
        for way, median in zip(FASTER, faster, strict=True):
            result[f"width {width}, {way}"] = round(written / median, 2)
    for key, value in result.items():
        print(f"{key:>30}  {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
