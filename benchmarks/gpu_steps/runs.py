"""Runs: killed and resumed, as exact as the CPU's, compiled, and with too little memory."""

import json
import math
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from d3data import artifact, distill
from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import record
from d3data.distill.objectives import KernelMatching
from d3data.distill.recipe import Recipe
from d3data.distill.recipe_files import get_recipe
from d3data.errors import DeviceError
from d3data.images.tasks import Task
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.nets.training import descend

from .bench import Bench, Check, random_source, recorded
from .recipes import MTT_AND_MMD, SMALL, parsed

CPU = torch.device("cpu")
WAITED = 60.0  # seconds for the first steps, at most
TOLERANCES = {"float32": 1e-4, "tf32": 1e-2}
STEPS = 2
COMMAND = "from d3data.cli import main; main()"
OPTIONS: dict[str, Any] = {"executor": "inline", "save_every": 0.0}


def resumed(bench: Bench) -> Iterator[Check]:
    """Distill digits-ipc4, killed on its way, and repeat the command."""
    out = bench.folder / "resumed"
    stop = killed if bench.real else interrupted
    recipe = get_recipe("digits-ipc4", overrides=bench.pick([], SHORT))
    yield Check("digits-ipc4 is stopped on its way", "no artifact", *stop(bench, recipe, out))
    began = time.perf_counter()
    distill.run(recipe, out=out, device=bench.device.type, **OPTIONS)
    items = len(artifact.read(out / "artifact").sources()[0].classes)
    yield Check("it is resumed and finishes", "110 items", items, items == 110)
    yield Check("seconds of the rest", "", round(time.perf_counter() - began, 1))
    twice, missing = faults(out / "subtasks", recipe)
    yield Check("steps told twice, or never", "[0, 0]", [twice, missing], twice == missing == 0)


SHORT = ["steps=4", "warm_start.steps=4"]


def killed(bench: Bench, recipe: Recipe, out: Path) -> tuple[Any, bool]:
    """By SIGKILL, as a machine that goes away; what it had done, and whether it was on its way."""
    words = ["distill", recipe.name, "--out", str(out), "--device", bench.device.type]
    driver = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + WAITED
    while not told(out / "subtasks") and time.monotonic() < end and driver.poll() is None:
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    time.sleep(1)  # for its worker to see it
    return stopped_at(out)


def interrupted(bench: Bench, recipe: Recipe, out: Path) -> tuple[Any, bool]:
    def stop(event: Any) -> None:
        if event.what == "progress":
            raise KeyboardInterrupt

    try:
        distill.run(recipe, out=out, device=bench.device.type, progress=stop, **OPTIONS)
    except KeyboardInterrupt:
        return stopped_at(out)
    return "it was not stopped", False


def stopped_at(out: Path) -> tuple[str, bool]:
    """How far a run came, and whether it was on its way."""
    steps = len(told(out / "subtasks"))
    return f"after {steps} steps", steps > 0 and not (out / "artifact").exists()


def told(place: Path) -> list[tuple[str, int]]:
    """The steps in the metrics of all subtasks, whole lines only."""
    found = []
    for path in place.rglob("metrics.jsonl"):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                values = json.loads(line)
                found.append((values["stage"], values["step"]))
    return found


def faults(place: Path, recipe: Recipe) -> tuple[int, int]:
    """How many steps are told more than once, and how many are missing at the ends of stages."""
    steps = Counter(told(place))
    ends = {("distill", recipe.steps), ("warm start", recipe.warm_start.steps)}
    return sum(count > 1 for count in steps.values()), len(ends - {*steps})


def exact(bench: Bench) -> Iterator[Check]:
    """The losses of the first steps, beside the CPU's."""
    for name, text in SMALL.items():
        plain = parsed(text)
        whole = plain.task.load()
        task = whole.subtask(plain.subtasks.split(len(whole.classes))[0])
        files = trajectories(plain, task, bench.folder / f"experts {name}")
        expected = losses(plain, task, files, CPU)
        for precision, tolerance in TOLERANCES.items():
            recipe = parsed(text, compute={"precision": precision})
            found = losses(recipe, task, files, bench.device)
            close = (
                math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
                for a, b in zip(found, expected, strict=True)
            )
            most = max(abs(a - b) for a, b in zip(found, expected, strict=True))
            what = f"{name}, {precision}: losses of steps 1-{STEPS} beside the CPU's"
            yield Check(what, f"within {tolerance:g}", most, all(close))


def trajectories(recipe: Recipe, task: Task, folder: Path) -> list[Path]:
    """The experts of a recipe, trained on the CPU."""
    plan = recipe.objective.expert_plan
    paths = [folder / f"{index}.safetensors" for index in range(plan.count)]
    for index, path in enumerate(paths):
        how: Any = {"path": path, "device": CPU, "compute": AS_WRITTEN}
        record(plan, task, seed=0, index=index, **how)
    return paths


def losses(recipe: Recipe, task: Task, files: list[Path], device: torch.device) -> list[float]:
    source, found = random_source(recipe, task, device), list[float]()
    experts, compute = recorded(recipe, task, files, device), recipe.compute
    how: Any = {"experts": experts, "device": device, "compute": compute}
    parameters = source.train_only(recipe.optimizers)
    with compute.precisely(device):
        descend(
            recipe.objective.losses(source, ObjectiveContext(task, seed=0, steps=STEPS, **how)),
            [spec.build(parameters[name]) for name, spec in recipe.optimizers.items()],
            steps=STEPS,
            watch=lambda step, loss: found.append(loss),
        )
    return found


def compiled(bench: Bench) -> Iterator[Check]:
    """Twenty steps of digits-ipc4 compiled and in bfloat16; what compiling takes."""
    if not bench.real:
        return
    seconds = {}
    for compile in (False, True):
        compute = Compute(precision="bfloat16", compile=compile).model_dump(exclude_none=True)
        changes = [f"compute.{key}={json.dumps(value)}" for key, value in compute.items()]
        recipe = get_recipe("digits-ipc4", overrides=["steps=20", "warm_start.steps=20", *changes])
        began = time.perf_counter()
        out = bench.folder / f"compiled {compile}"
        distill.run(recipe, out=out, device=bench.device.type, executor="inline")
        seconds[compile] = time.perf_counter() - began
    yield Check("bfloat16 and compiled, 20 steps", "no DeviceError", "an artifact", True)
    yield Check("seconds of compiling", "", round(seconds[True] - seconds[False], 1))


def too_little(bench: Bench) -> Iterator[Check]:
    """Out of memory is said once; two workers share one card."""
    recipe, events = parsed(MTT_AND_MMD), list[Any]()
    out, message = bench.folder / "too little", "nothing was said"
    restore = shrunk(bench)
    try:
        distill.run(recipe, out=out, device=bench.device.type, progress=events.append, **OPTIONS)
    except DeviceError as failure:
        message = str(failure)
    finally:
        restore()
    named = "at_once" in message and "--workers" in message
    yield Check("out of memory", "names at_once and --workers", message, named)
    again = sum(event.what == "failed" for event in events)
    yield Check("attempts that were repeated", "0", again, again == 0)
    if bench.real:
        folder = distill.run(recipe, out=bench.folder / "two", device="cuda:0", workers=2)
        parts = len(artifact.read(folder).sources())
        yield Check("two workers on one card", "2 parts", parts, parts == 2)


def shrunk(bench: Bench) -> Any:
    """Leave the card next to no memory; what is returned gives it back."""
    if bench.real:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1e-6)
        return lambda: torch.cuda.set_per_process_memory_fraction(1.0)

    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("Out of memory. Tried to allocate 2.00 GiB")

    whole, KernelMatching.losses = KernelMatching.losses, full
    return lambda: setattr(KernelMatching, "losses", whole)
