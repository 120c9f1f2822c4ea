"""What one busy process beside them costs distilling, evaluating and loading, by threads.

    python benchmarks/busy.py [--rounds 3] [--json benchmarks/results/busy.json]

Each measurement is a process of its own, quiet and then beside one endless loop, on one thread and
on all, with threads of OpenMP that wait as the commands have them wait (passive) and as libgomp
does of itself. Run it where nothing else is at work.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import product
from pathlib import Path

from d3data.utils.device import cores

LOOP = "while True: pass"
WAYS = {"passive": {"OMP_WAIT_POLICY": "PASSIVE"}, "as libgomp": {}}


def steps(threads: int) -> dict[str, float]:
    """Seconds of a step, or of a batch of 256 images, at 28 px."""
    import torch

    import d3data
    from d3data.distill import get_recipe, prepare
    from d3data.distill.forecast import forecast
    from d3data.evaluation import plan
    from d3data.utils.device import Resources
    from d3data.utils.process import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    found = {}
    changes = ["compute.compile=false", "compute.precision=float32", "compute.decoding=float32"]
    with tempfile.TemporaryDirectory() as folder:
        made = prepare(
            get_recipe("mnist-ipc1", overrides=changes),
            out=f"{folder}/run",
            resources=Resources("cpu", 1),
        )
        for stage in forecast(made, steps=5):
            if stage.seconds is not None:
                found[stage.name] = stage.seconds / stage.steps
    name = "fashion-mnist-ipc1"
    estimate = plan(name, baselines="none", seeds=[0]).estimate()
    found["evaluate"] = estimate.seconds / estimate.steps
    loader = torch.utils.data.DataLoader(d3data.load(name), batch_size=256, shuffle=True)
    next(iter(loader))
    begin, batches = time.perf_counter(), 0
    for _ in loader:
        batches += 1
    found["load"] = (time.perf_counter() - begin) / batches
    return found


@contextmanager
def busy(loops: int) -> Iterator[None]:
    others = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(loops)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measured(threads: int, way: str, loops: int) -> dict[str, float]:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | WAYS[way]
    command = [sys.executable, __file__, "--threads", str(threads)]
    with busy(loops):
        answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return json.loads(answer.stdout)


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="measure here, on so many")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads:
        print(json.dumps(steps(options.threads)))
        return
    cases = [*product((1, cores()), WAYS, (0, 1))]
    times, load = {case: [] for case in cases}, os.getloadavg()
    for _ in range(options.rounds):
        for case in cases:
            times[case].append(measured(*case))
    rows = []
    for (threads, way, loops), found in times.items():
        each = {key: statistics.median(one[key] for one in found) for key in found[0]}
        rows.append({"threads": threads, "waiting": way, "busy": loops, "seconds": each})
        shown = ", ".join(f"{key} {1e3 * one:.1f} ms" for key, one in each.items())
        print(f"{threads} threads, {way}, {loops} busy: {shown}", flush=True)
    result = {
        "benchmark": "beside one busy process",
        "date": date.today().isoformat(),
        "hardware": f"{platform.processor() or platform.machine()}, {cores()} cores",
        "load": load,
        "rows": rows,
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
