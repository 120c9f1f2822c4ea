"""The CPU time of random images of Parquet files ten times as large as what is kept of them.

    python benchmarks/parquet.py [--images 4096] [--batches 16] [--json results.json]

The same PNGs are read in batches of 256, in turn from files in folders and from row groups; the
ratio of their process times is the number. Before, every row group is read twice, as the first
two passes over all images do; they are told apart.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import ModuleType

import torch

from d3data.images.decoded import DecodedImages
from d3data.images.formats import folders, parquet
from d3data.images.formats.base import ExportPlan, Sample
from d3data.images.preprocessing import Preprocessing

BATCH, SIDE, BAR = 256, 64, 2.0
CLASSES = ("ant", "bee")


def images(count: int) -> Iterator[Sample]:
    """Soft noise, so that a PNG is about as large as that of a photograph."""
    rng = torch.Generator().manual_seed(0)
    for number in range(count):
        coarse = torch.rand(1, 3, SIDE // 4, SIDE // 4, generator=rng)
        fine = torch.nn.functional.interpolate(coarse, size=SIDE, mode="bilinear")[0]
        yield Sample((fine * 255).to(torch.uint8), number % len(CLASSES))


def written(place: Path, writer: ModuleType, count: int) -> DecodedImages:
    """As a training loop has them that cannot keep what it decoded."""
    plan = ExportPlan(place / "data", place / "scratch", CLASSES, (3, SIDE, SIDE), count)
    plan.folder.mkdir(parents=True)
    plan.scratch.mkdir()
    writer.write(plan, 0, images(count))
    writer.finish(plan)
    split = writer.read(plan.folder).splits["train"]
    rule = Preprocessing(channels=3, size=SIDE, fit="exact")
    return DecodedImages(split.images, torch.arange(count), rule, memory=0)


def seconds(split: DecodedImages, chosen: torch.Tensor) -> float:
    """CPU seconds of a batch."""
    begin = time.process_time()
    split.pixels(chosen)
    return time.process_time() - begin


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        files = written(place / "folders", folders, options.images)
        groups = written(place / "parquet", parquet, options.images)
        size = sum(path.stat().st_size for path in place.rglob("*.parquet"))
        parquet.CACHE = size // 10
        rng = torch.Generator().manual_seed(0)
        warm = torch.arange(0, options.images, parquet.GROUP)
        first = [seconds(groups, warm) for _ in range(2)]
        rounds = [
            (seconds(groups, chosen), seconds(files, chosen))
            for chosen in torch.randint(options.images, (options.batches, BATCH), generator=rng)
        ]
    packed, loose = (1e3 * statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = packed / loose
    result = {
        "benchmark": "CPU time of random batches of 256, Parquet of 10 times the cache",
        "date": date.today().isoformat(),
        "hardware": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "images": options.images,
        "bytes": size,
        "parquet_ms_per_batch": round(packed, 1),
        "folders_ms_per_batch": round(loose, 1),
        "ratio": round(ratio, 3),
        "bar": BAR,
        "ok": ratio <= BAR,
        "first_two_readings_of_all_groups_ms": [round(1e3 * each, 1) for each in first],
    }
    for key, value in result.items():
        print(f"{key:>36}  {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
