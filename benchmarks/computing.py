"""How much faster networks and decoders train compiled, and in bfloat16, than as written.

    python benchmarks/computing.py [--rounds 7] [--steps 5] [--json results.json]

Forward and backward passes, on one thread, of the field's ConvNet on 128 images of 3 x 32 x 32,
and of a decoder of width 32 on as many maps that it enlarges to such images. All ways take turns;
the ratios of median times are the numbers.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import torch
from torch import Tensor, nn

from d3data.images.spec import Image
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.nets.convnet import convnet
from d3data.nets.network import logits
from d3data.sources.spatial import SpatialSpec, SubPixelDecoder, sizes

BATCH = 128
FASTER = {
    "compiled": Compute(compile=True),
    "compiled, bfloat16": Compute(compile=True, precision="bfloat16"),
}


def passes() -> Iterator[tuple[str, nn.Module, Tensor]]:
    """What is trained, and what goes through it."""
    for width in (32, 64, 128):
        network = convnet(channels=3, size=32, classes=10, width=width)
        yield f"width {width}", network, torch.randn(BATCH, 3, 32, 32)
    image = Image(channels=3, size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    decoder = SubPixelDecoder(sizes(SpatialSpec(width=32), image))
    yield "decoder", decoder, torch.randn(BATCH, 4, 8, 8)


def seconds(compute: Compute, network: nn.Module, inputs: Tensor, steps: int) -> float:
    """Seconds of one step."""
    begin = time.perf_counter()
    for _ in range(steps):
        network.zero_grad()
        compute(logits, network, inputs).square().mean().backward()
    return (time.perf_counter() - begin) / steps


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        "benchmark": "steps of networks as written over compiled ones, 1 thread",
        "date": date.today().isoformat(),
        "hardware": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    ways = [AS_WRITTEN, *FASTER.values()]
    for name, network, inputs in passes():
        for compute in ways:
            seconds(compute, network, inputs, 2)
        rounds = [
            [seconds(compute, network, inputs, options.steps) for compute in ways]
            for _ in range(options.rounds)
        ]
        written, *faster = (statistics.median(times) for times in zip(*rounds, strict=True))
        result[f"{name}, ms as written"] = round(1e3 * written, 1)
        for way, median in zip(FASTER, faster, strict=True):
            result[f"{name}, {way}"] = round(written / median, 2)
    for key, value in result.items():
        print(f"{key:>30}  {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
