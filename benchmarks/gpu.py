"""What d3data does on an accelerator, in ten minutes: step by step, with what each must show.

    python benchmarks/gpu.py --device cuda [--json benchmarks/results/gpu.json] [--only launches]
    python benchmarks/gpu.py --device cpu --only host

It ends with 1 if a step did not show it. Real images are digits; black ones stand for the others.
The same steps run small on the pretended accelerator of the tests, `tests/card/test_gpu_steps.py`.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from gpu_steps import costs, runs, sets
from gpu_steps.bench import Bench, Check, CudaCard

from d3data.errors import DeviceError
from d3data.utils.device import as_device, versions

SECONDS = 600  # at most


def hardware(bench: Bench) -> str:
    if not bench.real:
        return "pretended"
    cuda = bench.device.type == "cuda"
    return torch.cuda.get_device_name(bench.device) if cuda else "cpu"


def environment(bench: Bench) -> Iterator[Check]:
    """What computes here."""
    yield Check("device", "", hardware(bench))
    tensor = torch.ones(3, device=bench.device).sum().item()
    yield Check("a sum on it", "3.0", tensor, tensor == 3)


STEPS: dict[str, Callable[[Bench], Iterator[Check]]] = {
    "environment": environment,
    "resume": runs.resumed,
    "exactness": runs.exact,
    "compilation": runs.compiled,
    "evaluation": sets.evaluated,
    "loading": sets.loaded,
    "launches": costs.launches,
    "host": costs.host,
    "memory": costs.memory,
    "out of memory": runs.too_little,
}


def measure(bench: Bench, names: Sequence[str] = tuple(STEPS)) -> list[dict[str, Any]]:
    """Take the steps of these names; one that raises has failed, and the others go on."""
    found = []
    for name in names:
        began, checks, error = time.perf_counter(), list[Check](), ""
        try:
            for check in STEPS[name](bench):
                checks.append(check)
                print(f"{name:<14}{check.what:<62}{check.must:<28}{check.found!s:<24}"
                      f"{'' if check.ok is None else 'ok' if check.ok else 'FAILED'}",
                      flush=True)  # fmt: skip
        except Exception:
            error = traceback.format_exc()
            print(error, file=sys.stderr)
        ok = not error and all(check.ok is not False for check in checks)
        seconds = round(time.perf_counter() - began, 1)
        print(f"{name:<14}{seconds} s, {'ok' if ok else 'FAILED'}", flush=True)
        told = [check._asdict() for check in checks]
        found.append({"step": name, "ok": ok, "seconds": seconds, "checks": told, "error": error})
    return found


def page(bench: Bench, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """What is kept: hardware, date, versions, and what the steps showed."""
    seconds = round(sum(step["seconds"] for step in steps), 1)
    return {
        "benchmark": "steps on an accelerator",
        "date": date.today().isoformat(),
        "hardware": hardware(bench),
        "host": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "versions": versions() | {"cuda": torch.version.cuda or ""},
        "seconds": seconds,
        "ok": all(step["ok"] for step in steps) and (seconds <= SECONDS or not bench.real),
        "steps": steps,
    }


def main() -> int:
    """Measure, print, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for the host")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=STEPS, nargs="+", default=[*STEPS])
    options = parser.parse_args()
    try:
        device = as_device(options.device)
    except DeviceError as failure:
        parser.error(str(failure))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    elif options.only != ["host"]:
        parser.error("these steps need CUDA; without it, --only host")
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(device, CudaCard(), Path(name))
        result = page(bench, measure(bench, options.only))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, default=str) + "\n")
    print(f"{result['seconds']} s, {'ok' if result['ok'] else 'FAILED'}")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
