"""How long many jobs take on many workers that are late, and fail: a simulation, and its check.

    python benchmarks/schedule.py [--rate 1.3e14] [--json benchmarks/results/schedule.json]
    python benchmarks/schedule.py --check [--json benchmarks/results/schedule_check.json]

The first prints the tables of docs/scaling.md: `--rate` is operations a second of one worker, by
default what d3data assumes of an A100. The second runs 2, 4 and 8 small subtasks in two processes
and compares the seconds that they took with those simulated from a run of one.
"""

import argparse
import heapq
import json
import math
import os
import random
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from d3data import distill
from d3data.distill.forecast import forecast, gpu_speed
from d3data.distill.run_status import status
from d3data.utils.device import Resources, cores

HOUR = 3600.0


@dataclass(frozen=True)
class Stage:
    """So many jobs of so many seconds each, any order; the next stage waits for all of them."""

    name: str
    jobs: int
    seconds: float


@dataclass(frozen=True)
class Cluster:
    """`spread` is the standard deviation of the logarithm of a job's time; times in seconds."""

    workers: int
    spread: float = 0.0
    between_failures: float = 1e12  # of one worker
    start: float = 0.0  # until a job computes, at each attempt
    lost: float = 30.0  # since the last checkpoint, at most
    again: float = 2.0  # before another attempt


def simulated(stages: list[Stage], on: Cluster, *, seed: int = 0) -> tuple[float, float]:
    """Seconds until all is done, and seconds that workers were at work."""
    chance, now, worked = random.Random(seed), 0.0, 0.0
    for stage in stages:
        free = [now] * min(on.workers, stage.jobs)
        for _ in range(stage.jobs):
            begin = heapq.heappop(free)
            takes = attempts(stage.seconds * math.exp(chance.gauss(0, on.spread)), on, chance)
            worked += takes
            heapq.heappush(free, begin + takes)
        now = max(free, default=now)
    return now, worked


def attempts(seconds: float, on: Cluster, chance: random.Random) -> float:
    """What a job takes with all attempts, each of which goes on from the last checkpoint."""
    total, left = 0.0, seconds
    while True:
        until = chance.expovariate(1 / on.between_failures)
        if until >= on.start + left:
            return total + on.start + left
        done = max(0.0, until - on.start - chance.uniform(0, on.lost))
        left -= done
        total += until + on.again


def imagenet(rate: float) -> list[Stage]:
    """The stages of `imagenet-ipc1` at so many operations a second, traced without its images."""
    with tempfile.TemporaryDirectory() as folder:
        plan = distill.prepare(
            "imagenet-ipc1", out=Path(folder) / "run", resources=Resources("cpu", 1), imagine=True
        )
        stages = forecast(plan, "cpu", workers=1)
    return [Stage(each.name, each.jobs, each.flops / rate / each.jobs) for each in stages]


def scaled(stages: list[Stage], *, subtasks: int, images: float) -> list[Stage]:
    """So many subtasks of 200 classes, each class with `images` times as many real ones."""
    subtask = next(each.jobs for each in stages if each.name == "distill")
    made = []
    for each in stages:
        longer = images if each.name == "experts" else 1.0
        jobs = round(each.jobs * subtasks / subtask)
        made.append(Stage(each.name, jobs, each.seconds * longer))
    return made


def table(rate: float) -> list[dict[str, Any]]:
    """Days on 8, 64 and 512 workers, smooth and with late and failing ones."""
    base = imagenet(rate)
    sets = {
        "ImageNet-1K": base,
        "ImageNet-21K": scaled(base, subtasks=109, images=650 / 1281),
        "of JFT's size": scaled(base, subtasks=91, images=16_400 / 1281),
    }
    rows = []
    for name, stages in sets.items():
        hours = sum(each.jobs * each.seconds for each in stages) / HOUR
        row = {"set": name, "jobs": sum(each.jobs for each in stages), "hours": round(hours)}
        for workers in (8, 64, 512):
            smooth, _ = simulated(stages, Cluster(workers, start=60))
            rough = Cluster(workers, spread=0.2, between_failures=24 * HOUR, start=60)
            late, worked = simulated(stages, rough)
            row[f"days on {workers}"] = round(smooth / HOUR / 24, 2)
            row[f"late on {workers}"] = round(late / HOUR / 24, 2)
            row[f"more on {workers}"] = round(worked / HOUR / hours - 1, 3)
        rows.append(row)
    return rows


def small(subtasks: int, steps: int) -> Any:
    """A recipe of so many subtasks of handwritten digits, each of some seconds."""
    values = {
        "name": "small",
        "task": {"name": "digits"},
        "source": {"kind": "pixels"},
        "items_per_class": 2,
        "objective": {"kind": "dm", "network": {"width": 32}, "samples": 16, "real": 64},
        "optimizers": {"pixels": {"learning_rate": 0.1}},
        "steps": steps,
        "subtasks": {"count": subtasks},
    }
    return distill.Recipe.parse(values, where="a small recipe")


def ran(subtasks: int, workers: int, steps: int, executor: str) -> tuple[float, list[float]]:
    """Seconds of a real run, and of the work of each of its subtasks."""
    out = Path(tempfile.mkdtemp())
    begin = time.perf_counter()
    distill.run(small(subtasks, steps), out=out, executor=executor, workers=workers)
    took = time.perf_counter() - begin
    each = [one.seconds for one in status(out).subtasks]
    shutil.rmtree(out)
    return took, each


def checked(steps: int) -> list[dict[str, Any]]:
    """Real runs beside those that are simulated from the one before them, of as many subtasks."""
    rows = []
    for subtasks in (2, 4, 8):
        alone, each = ran(subtasks, 1, steps, "processes")
        work = sum(each) / subtasks
        start = max(0.0, alone - sum(each))  # one worker starts once
        both, _ = ran(subtasks, 2, steps, "processes")
        guess, _ = simulated([Stage("distill", subtasks, work)], Cluster(2))
        row = {"subtasks": subtasks, "one worker": alone, "two workers": both}
        row |= {"simulated": guess + start, "of simulated": both / (guess + start)}
        rows.append({key: round(value, 2) for key, value in row.items()})
    return rows


def ratios(steps: int, rounds: int) -> dict[str, Any]:
    """Four subtasks one after the other over two at a time, in processes and on Ray; in turn."""
    seen: dict[str, list[float]] = {"processes": [], "ray": []}
    os.environ["OMP_NUM_THREADS"] = "1"
    loads = []
    for _ in range(rounds):
        loads.append(round(os.getloadavg()[0], 1))
        alone, _ = ran(4, 1, steps, "inline")
        for name, known in seen.items():
            known.append(round(alone / ran(4, 2, steps, name)[0], 2))
    return {**seen, "load": loads}


def main() -> None:
    """Simulate, or check the simulation; print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=gpu_speed("A100"))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--ratios", type=int, default=0, metavar="ROUNDS")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"date": str(date.today()), "cores": cores()}
    if options.check:
        result |= {"load": os.getloadavg()[0], "runs": checked(options.steps)}
    elif options.ratios:
        result |= ratios(options.steps, options.ratios)
    else:
        result |= {"rate": options.rate, "sets": table(options.rate)}
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
