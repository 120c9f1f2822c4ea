"""What the engine costs over the bare loop, at the size of the handwritten digits.

    python benchmarks/engine.py [--steps 100] [--rounds 7] [--json results.json]

The same objective steps the same source: once as a job of a run does it, with schedules, journal
and checkpoints, once as the shortest loop that can be written. The two take turns in one process
on one thread; the ratio of their median times is the number.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

from d3data.distill.engine import MetricsLog, Setting, Stage, optimize
from d3data.distill.recipe_files import get_recipe
from d3data.distill.starts.gaussian import from_noise
from d3data.images.spec import Image
from d3data.nets.checkpoint import Checkpoint
from d3data.sources import registry


def start(setting: Setting):
    """A source started from noise."""
    recipe, task = setting.recipe, setting.task
    image = Image(channels=task.rule.channels, size=task.rule.size, mean=task.mean, std=task.std)
    classes = torch.arange(len(task.classes)).repeat_interleave(recipe.items_per_class)
    return registry.blank(recipe.source, image, classes=classes, step_size=recipe.step_size)


def staged(setting: Setting, folder: Path, steps: int) -> float:
    """Seconds of `steps` steps as a job takes them."""
    source = start(setting)
    checkpoint = Checkpoint(folder / "checkpoint.safetensors", every_seconds=30)
    with MetricsLog(folder / "metrics.jsonl", lambda event: None) as journal:
        stage = Stage("distill", steps, checkpoint, journal, None)
        from_noise(source, setting.context(stage))
        begin = time.perf_counter()
        optimize(source, stage, setting)
        return time.perf_counter() - begin


def bare(setting: Setting, folder: Path, steps: int) -> float:
    """Seconds of the same steps in the shortest loop."""
    source = start(setting)
    with MetricsLog(folder / "unused.jsonl", lambda event: None) as journal:
        stage = Stage(
            "distill", steps, Checkpoint(folder / "unused", every_seconds=30), journal, None
        )
        bench = setting.context(stage)
    from_noise(source, bench)
    parameters = source.train_only(setting.recipe.optimizers)
    optimizers = [s.build(parameters[p]) for p, s in setting.recipe.optimizers.items()]
    begin = time.perf_counter()
    for loss in setting.recipe.objective.losses(source, bench):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    return time.perf_counter() - begin


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = get_recipe("digits-ipc4")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        setting = Setting(recipe, recipe.task.load(), 0, torch.device("cpu"))
        staged(setting, folder, 10)
        rounds = [
            (staged(setting, folder, options.steps), bare(setting, folder, options.steps))
            for _ in range(options.rounds)
        ]
    engine, loop = (statistics.median(times) for times in zip(*rounds, strict=True))
    result = {
        "benchmark": "engine over bare loop, digits-ipc4",
        "date": date.today().isoformat(),
        "hardware": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "engine_ms_per_step": round(1e3 * engine / options.steps, 3),
        "bare_ms_per_step": round(1e3 * loop / options.steps, 3),
        "ratio": round(engine / loop, 4),
        "ratio_of_pairs": [round(a / b, 4) for a, b in rounds],
    }
    for key, value in result.items():
        print(f"{key:>20}  {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
