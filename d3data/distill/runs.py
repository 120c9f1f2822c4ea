"""A run: a folder in which a recipe becomes an artifact, stopped and started at will."""

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from d3data.distill.driver import Driver, Tell
from d3data.distill.executors import Executor, Inline, Retries
from d3data.distill.plan import Plan, plan_run
from d3data.distill.processes import Processes
from d3data.distill.recipe import Recipe, load_recipe
from d3data.distill.resources import Machine, environment, machine
from d3data.distill.write import about
from d3data.errors import ForeignRunError, RecipeError, RunError, nearest
from d3data.utils.atomic import write_bytes, write_json
from d3data.utils.lock import NAME as LOCK
from d3data.utils.lock import driving
from d3data.utils.text import some

RECIPE, ENVIRONMENT = "recipe.toml", "env.json"
BEGINNINGS = (".recipe.toml.*", ".env.json.*")
LITTER = (*BEGINNINGS, ".artifact.*", "experts/.*", "subtasks/*/.*")  # of killed processes

ExecutorName = Literal["processes", "inline"]
EXECUTORS = ("processes", "inline")


def run(
    recipe: Recipe | str | Path,
    *,
    out: str | Path,
    data: str | Path | None = None,
    executor: ExecutorName | Executor = "processes",
    workers: int | None = None,
    launcher: Sequence[str] = (),
    device: str = "cpu",
    experts: str | Path | None = None,
    attempts: int = 3,
    save_every: float = 30.0,
    progress: Tell | None = None,
) -> Path:
    """Make the artifact of a recipe in the run folder `out`, or go on with making it.

    Killed at any moment and started again, it finishes; on the CPU with the same tensors, bit
    for bit, as if it had never been killed.

    Args:
        recipe: a recipe, the name of one that comes with the package, or a path to one.
        out: the run folder; it belongs to this recipe and these images from then on.
        data: where the images are, unless the recipe or its task's name says it.
        executor: "processes", "inline", or any `Executor`, which then counts its own attempts.
        workers: jobs at a time; one an accelerator, or one a core on the CPU, unless given.
        launcher: a command that begins each worker, on another machine maybe; see `Processes`.
        device: cpu, cuda, cuda:N or mps; of the workers, where a launcher begins them.
        experts: a folder of recorded trajectories that several runs share.
        attempts: how often a job is tried whose worker dies.
        save_every: seconds between checkpoints.
        progress: called with every event, in this thread.

    Returns:
        The folder of the artifact.

    Raises:
        RunLockedError: another process is driving this run.
        ForeignRunError: the folder belongs to another recipe, to other images, or is no run.
        JobError: jobs failed in all their attempts.
        D3DataError: whatever is wrong with recipe, images, device or disk.
    """
    _require_options(workers=workers, attempts=attempts, save_every=save_every)
    place = machine(device, workers, inline=executor == "inline", elsewhere=bool(launcher))
    doing = _executor(executor, place, Retries(attempts), launcher)
    with driving(Path(out)):
        plan = prepare(
            recipe, out=out, data=data, place=place, experts=experts, save_every=save_every
        )
        driver = Driver(plan, Path(out), progress)
        _claim(Path(out), plan, place, driver)
        return driver.drive(doing)


def prepare(
    recipe: Recipe | str | Path,
    *,
    out: str | Path,
    place: Machine,
    data: str | Path | None = None,
    experts: str | Path | None = None,
    save_every: float = 30.0,
    imagine: bool = False,
) -> Plan:
    """What `run` with these arguments will do on the machine `place`; writes nothing.

    With `imagine`, black images will do where those of a known data set are not here.

    Raises:
        ForeignRunError: the folder belongs to another recipe, to other images, or is no run.
        D3DataError: whatever is wrong with recipe or images.
    """
    _require_options(save_every=save_every)
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    begun = _begun(Path(out), recipe)
    plan = plan_run(
        recipe,
        data=None if data is None else str(data),
        folder=Path(out),
        machine=place,
        threads=begun.get("threads"),
        experts=None if experts is None else Path(experts),
        save_every=save_every,
        imagine=imagine,
    )
    about(plan, seconds=0.0, device=place.device)  # may find fault with names in the recipe
    if begun and begun["fingerprint"] != plan.task.fingerprint:
        raise ForeignRunError(
            f"{out} was begun with images of fingerprint {begun['fingerprint'][:12]}, and these "
            f"have {plan.task.fingerprint[:12]}: give the same images, or another folder"
        )
    return plan


def _require_options(*, save_every: float, workers: int | None = None, attempts: int = 1) -> None:
    for name, number in (("workers", workers), ("attempts", attempts)):
        if number is not None and number < 1:
            raise RecipeError(f"{name} is {number}, and must be at least 1")
    if not 0 <= save_every < math.inf:
        raise RecipeError(f"save_every is {save_every}: give seconds, 0 to save at every step")


def read_environment(folder: Path) -> Mapping[str, Any]:
    """What `env.json` of a run says.

    Raises:
        RunError: it is missing or broken.
    """
    try:
        found: Mapping[str, Any] = json.loads((folder / ENVIRONMENT).read_bytes())
        return {
            key: found[key] for key in ("versions", "device", "fingerprint", "classes", "threads")
        }
    except (OSError, ValueError, TypeError, KeyError) as failure:
        raise RunError(
            f"{folder / ENVIRONMENT} is missing or broken ({failure!r}), so the run cannot go "
            "on: give another folder"
        ) from None


def _begun(folder: Path, recipe: Recipe) -> Mapping[str, Any]:
    """What a run that was begun in `folder` was begun with; empty where there is none.

    Raises:
        ForeignRunError: it is another recipe's, or no run.
    """
    if not (folder / RECIPE).exists():
        ours = {LOCK, ENVIRONMENT, *(p.name for name in BEGINNINGS for p in folder.glob(name))}
        strange = [p.name for p in folder.glob("*") if p.name not in ours]
        if strange:
            raise ForeignRunError(
                f"{folder} is not a run and not empty (it has {sorted(strange)[0]}): give another "
                "folder"
            )
        return {}
    there = load_recipe(folder / RECIPE)
    if there.identity != recipe.identity:
        raise ForeignRunError(
            f"{folder} belongs to the recipe {there.name} with identity {there.identity[:12]}, "
            f"not to {recipe.name} with identity {recipe.identity[:12]} (they differ in "
            f"{some(sorted(_differing('', there.dump(), recipe.dump())))}): give another folder, "
            f"or take the recipe as it is in {folder / RECIPE}"
        )
    return read_environment(folder)


def _differing(place: str, one: Any, other: Any) -> Iterator[str]:
    """The keys whose values differ, such as `source.decoder.width`."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {*one, *other}:
            yield from _differing(f"{place}.{key}".lstrip("."), one.get(key), other.get(key))
    elif one != other:
        yield place


def _claim(folder: Path, plan: Plan, place: Machine, driver: Driver) -> None:
    """Make the folder that of this plan, or note how this machine differs from the first."""
    for pattern in LITTER:
        for left in folder.glob(pattern):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    now = environment(place.device)
    if not (folder / RECIPE).exists():
        threads = {stage: jobs[0].threads for stage, jobs in plan.stages.items() if jobs}
        task = {"fingerprint": plan.task.fingerprint, "classes": len(plan.task.classes)}
        write_json(folder / ENVIRONMENT, {**now, **task, "threads": threads})
        write_bytes(folder / RECIPE, plan.recipe.to_toml().encode())
        return
    begun = read_environment(folder)
    for key in ("versions", "device"):
        if begun[key] != now[key]:
            driver.tell(
                "note",
                f"begun with {key} {begun[key]}, goes on with {now[key]}: the tensors will "
                "not be those of a run that was never stopped",
            )


def _executor(
    executor: ExecutorName | Executor, place: Machine, retries: Retries, launcher: Sequence[str]
) -> Executor:
    if executor == "processes":
        return Processes(place.workers, place.devices, retries, launcher)
    if launcher:
        raise RecipeError("a launcher begins processes: leave it out, or the executor")
    if executor == "inline":
        return Inline(retries)
    if isinstance(executor, str):
        raise RecipeError(f"unknown executor {executor!r}: {nearest(executor, EXECUTORS)}")
    return executor
