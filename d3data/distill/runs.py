"""A run: a folder in which a recipe becomes an artifact; it can be stopped and resumed."""

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from d3data.distill.driver import Driver, OnEvent
from d3data.distill.executors import Executor, Inline, Retries
from d3data.distill.plan import Plan, plan_run
from d3data.distill.processes import Processes
from d3data.distill.recipe import Recipe, load_recipe
from d3data.distill.resources import Resources, environment, find_resources
from d3data.distill.write import about
from d3data.errors import ForeignRunError, RecipeError, RunError, RunLockedError, nearest
from d3data.utils.atomic import write_bytes, write_json
from d3data.utils.lock import hold, lock_files
from d3data.utils.text import some

RECIPE, ENVIRONMENT, LOCK = "recipe.toml", "env.json", ".lock"
STARTED = (".recipe.toml.*", ".env.json.*")  # temporary files of processes that were killed
LEFTOVERS = (*STARTED, ".artifact.*", "experts/.*", "subtasks/*/.*")

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
    progress: OnEvent | None = None,
) -> Path:
    """Make the artifact of a recipe in the run folder `out`, or resume making it.

    It may be killed at any moment and started again; on the CPU the tensors are then the same,
    bit for bit, as those of a run that was never killed.

    Args:
        recipe: a recipe, the name of one that comes with the package, or a path to one.
        out: the run folder; it belongs to this recipe and these images from then on.
        data: where the images are, unless the recipe or its task's name says it.
        executor: "processes", "inline", or any `Executor`, which then counts its own attempts.
        workers: jobs at a time; by default one an accelerator, or one a core on the CPU.
        launcher: a command that starts each worker, on another machine maybe; see `Processes`.
        device: cpu, cuda, cuda:N or mps; of the workers, where a launcher starts them.
        experts: a folder of recorded trajectories that several runs share.
        attempts: how often a job is tried whose worker dies.
        save_every: seconds between checkpoints.
        progress: called with every event, in this thread.

    Returns:
        The folder of the artifact.

    Raises:
        RunLockedError: another process is working on this run.
        ForeignRunError: the folder belongs to another recipe, to other images, or is not a run.
        JobError: jobs failed in all their attempts.
        D3DataError: the recipe, the images, the device or the disk cannot be used.
    """
    folder = Path(out)
    _check_options(workers=workers, attempts=attempts, save_every=save_every)
    resources = find_resources(device, workers, inline=executor == "inline", remote=bool(launcher))
    chosen = _executor(executor, resources, Retries(attempts), launcher)
    with _locked(folder):
        plan = prepare(
            recipe,
            out=out,
            data=data,
            resources=resources,
            experts=experts,
            save_every=save_every,
        )
        if isinstance(chosen, Inline) and chosen.load is None:
            chosen = replace(chosen, load=lambda *_: plan.task)  # which is loaded already
        driver = Driver(plan, folder, progress)
        _claim(folder, plan, resources, driver)
        return driver.drive(chosen)


def prepare(
    recipe: Recipe | str | Path,
    *,
    out: str | Path,
    resources: Resources,
    data: str | Path | None = None,
    experts: str | Path | None = None,
    save_every: float = 30.0,
    imagine: bool = False,
) -> Plan:
    """What `run` with these arguments will do with such resources; writes nothing.

    With `imagine`, black images stand for those of a known data set that is not on this machine.

    Raises:
        ForeignRunError: the folder belongs to another recipe, to other images, or is not a run.
        D3DataError: the recipe or the images cannot be used.
    """
    _check_options(save_every=save_every)
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    started = _started(Path(out), recipe)
    plan = plan_run(
        recipe,
        data=None if data is None else str(data),
        folder=Path(out),
        resources=resources,
        threads=started.get("threads"),
        experts=None if experts is None else Path(experts),
        save_every=save_every,
        imagine=imagine,
    )
    about(plan, seconds=0.0, device=resources.device)  # checks the names in the recipe
    if started and started["fingerprint"] != plan.task.fingerprint:
        raise ForeignRunError(
            f"{out} was started with other images (fingerprint {started['fingerprint'][:12]}, "
            f"not {plan.task.fingerprint[:12]}): give the same images, or choose another folder"
        )
    return plan


def read_environment(folder: Path) -> Mapping[str, Any]:
    """What `env.json` of a run says.

    Raises:
        RunError: it is missing or broken.
    """
    try:
        page = json.loads((folder / ENVIRONMENT).read_bytes())
        keys = ("versions", "device", "fingerprint", "classes", "threads")
        return {key: page[key] for key in keys}
    except (OSError, ValueError, TypeError, KeyError) as failure:
        raise RunError(
            f"{folder / ENVIRONMENT} is missing or broken ({failure!r}), so the run cannot be "
            "resumed: choose another folder"
        ) from None


def _check_options(*, save_every: float, workers: int | None = None, attempts: int = 1) -> None:
    for name, number in (("workers", workers), ("attempts", attempts)):
        if number is not None and number < 1:
            raise RecipeError(f"{name} must be an integer >= 1, got {number}")
    if not 0 <= save_every < math.inf:
        raise RecipeError(f"save_every must be seconds >= 0, got {save_every}")


def _locked(folder: Path) -> AbstractContextManager[None]:
    def taken(holder: str) -> RunLockedError:
        return RunLockedError(
            f"{folder} is in use by {holder}: wait for it, stop it, or choose another folder"
        )

    return hold(folder / LOCK, taken=taken)


def _started(folder: Path, recipe: Recipe) -> Mapping[str, Any]:
    """The environment in which a run in `folder` was started; empty where there is none.

    Raises:
        ForeignRunError: it is another recipe's, or not a run.
    """
    if not (folder / RECIPE).exists():
        ours = {ENVIRONMENT, *lock_files(Path(LOCK))}
        ours |= {path.name for pattern in STARTED for path in folder.glob(pattern)}
        if others := sorted({path.name for path in folder.glob("*")} - ours):
            raise ForeignRunError(
                f"{folder} is not a run and not empty (it has {others[0]}): choose another folder"
            )
        return {}
    owner = load_recipe(folder / RECIPE)
    if owner.identity != recipe.identity:
        differing = some(sorted(_differing("", owner.dump(), recipe.dump())))
        raise ForeignRunError(
            f"{folder} was started with another recipe ({owner.name}, identity "
            f"{owner.identity[:12]}, not {recipe.name}, identity {recipe.identity[:12]}); they "
            f"differ in {differing}: choose another folder, or run {folder / RECIPE}"
        )
    return read_environment(folder)


def _differing(place: str, one: Any, other: Any) -> Iterator[str]:
    """The keys whose values differ, such as `source.decoder.width`."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {*one, *other}:
            yield from _differing(f"{place}.{key}".lstrip("."), one.get(key), other.get(key))
    elif one != other:
        yield place


def _claim(folder: Path, plan: Plan, resources: Resources, driver: Driver) -> None:
    """Write what the folder belongs to, or note how this machine differs from the first."""
    for pattern in LEFTOVERS:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    now = environment(resources.device)
    if not (folder / RECIPE).exists():
        threads = {stage: jobs[0].threads for stage, jobs in plan.stages.items() if jobs}
        task = {"fingerprint": plan.task.fingerprint, "classes": len(plan.task.classes)}
        write_json(folder / ENVIRONMENT, {**now, **task, "threads": threads})
        write_bytes(folder / RECIPE, plan.recipe.to_toml().encode())
        return
    started = read_environment(folder)
    for key in ("versions", "device"):
        if started[key] != now[key]:
            driver.emit(
                "note",
                f"started with {key} {started[key]}, resumed with {now[key]}: the tensors will "
                "not be exactly those of a run that was never stopped",
            )


def _executor(
    executor: ExecutorName | Executor,
    resources: Resources,
    retries: Retries,
    launcher: Sequence[str],
) -> Executor:
    if executor == "processes":
        return Processes(resources.workers, resources.devices, retries, launcher)
    if launcher:
        raise RecipeError('a launcher needs executor="processes": leave out one of them')
    if executor == "inline":
        return Inline(retries)
    if isinstance(executor, str):
        raise RecipeError(f"unknown executor {executor!r}: {nearest(executor, EXECUTORS)}")
    return executor
