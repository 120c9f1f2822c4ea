"""A run: a folder in which a recipe becomes an artifact; it can be stopped and resumed."""

import contextlib
import math
import platform
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from d3data import artifact
from d3data.artifact.artifact import Artifact
from d3data.distill.driver import Driver, about
from d3data.distill.jobs import LOADER, loader
from d3data.distill.plan import Plan, plan_run
from d3data.distill.recipe import Recipe
from d3data.distill.recipe_files import get_recipe
from d3data.distill.run_status import ENVIRONMENT, LOCK, RECIPE, read_environment
from d3data.distill.starts import finished
from d3data.errors import ForeignRunError, RecipeError, RunLockedError, nearest
from d3data.executors.base import Executor, Inline, Retries
from d3data.executors.processes import Processes
from d3data.executors.rays import Ray
from d3data.executors.slurm import Slurm
from d3data.utils.atomic import write_bytes, write_json
from d3data.utils.device import Resources, find_resources, versions
from d3data.utils.lock import hold, lock_files
from d3data.utils.packages import naming_packages
from d3data.utils.paths import from_anywhere
from d3data.utils.progress import ReportProgress, ignore
from d3data.utils.text import some

# temporary files of processes that were killed
STARTED = (".recipe.toml.*", ".env.json.*", f".{finished.FOLDER}.*")

ExecutorName = Literal["processes", "inline", "ray", "slurm"]


@naming_packages()
def run(
    recipe: Recipe | str | Path,
    *,
    out: str | Path,
    data: str | Path | None = None,
    executor: ExecutorName | Executor = "processes",
    workers: int | None = None,
    device: str | torch.device = "cpu",
    experts: str | Path | None = None,
    attempts: int = 3,
    save_every: float = 30.0,
    start: Artifact | str | Path | None = None,
    progress: ReportProgress = ignore,
) -> Path:
    """Make the artifact of a recipe in the run folder `out`, or resume making it.

    It may be killed at any moment and started again; on the CPU the tensors are then the same,
    bit for bit, as those of a run that was never killed.

    Args:
        recipe: a recipe, the name of one that comes with the package, or a path to one.
        out: the run folder; it belongs to this recipe and these images from then on.
        data: where the images are, unless the recipe or its task's name says it.
        executor: "processes", "inline", "ray" for a cluster of Ray's on this machine, "slurm"; or
            any `Executor`, such as `Ray` or `Slurm`, which then counts its own attempts.
        workers: jobs at a time; by default one an accelerator, or one a core on the CPU.
        device: cpu, cuda, cuda:N or mps; of the nodes, where the executor is of a cluster.
        experts: a folder of recorded trajectories that several runs share.
        attempts: how often a job is tried whose worker dies.
        save_every: seconds between checkpoints.
        start: a finished set to go on from, in place of a warm start: an artifact or its folder.
        progress: called in this thread with every step of a job and every event of the run.

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
    chosen, resources = _executor(executor, str(device), workers, Retries(attempts))
    options: dict[str, str | list[str]] = {
        name: from_anywhere(value)
        for name, value in {"data": data, "experts": experts}.items()
        if value is not None
    }
    options |= {"device": resources.device} if resources.device != "cpu" else {}
    options |= chosen.command_options if isinstance(chosen, Ray | Slurm) else {}
    advice = "wait for it, stop it, or choose another folder"
    with hold(
        folder / LOCK, taken=lambda by: RunLockedError(f"{folder} is in use by {by}: {advice}")
    ):
        try:
            plan = prepare(
                recipe,
                out=out,
                data=data,
                resources=resources,
                experts=experts,
                save_every=save_every,
                start=start,
            )
        except BaseException:
            _leave(folder)
            raise
        if isinstance(chosen, Inline) and chosen.memory is None:
            chosen = replace(chosen, memory={LOADER: loader(plan.task)})
        driver = Driver(plan, folder, progress)
        _claim(folder, plan, resources, driver, options)
        return driver.drive(chosen)


@naming_packages()
def prepare(
    recipe: Recipe | str | Path,
    *,
    out: str | Path,
    resources: Resources,
    data: str | Path | None = None,
    experts: str | Path | None = None,
    save_every: float = 30.0,
    start: Artifact | str | Path | None = None,
    imagine: bool = False,
) -> Plan:
    """What `run` with these arguments will do with such resources; writes nothing.

    With `imagine`, black images stand for those of a known data set that is not on this machine.

    Raises:
        ForeignRunError: the folder belongs to another recipe, to other images, or is not a run.
        D3DataError: the recipe or the images cannot be used.
    """
    _check_options(save_every=save_every)
    recipe = recipe if isinstance(recipe, Recipe) else get_recipe(recipe)
    given = start if isinstance(start, Artifact | None) else artifact.read(start)
    begun = (Path(out) / RECIPE).exists()
    if made := finished.chosen(Path(out), given, begun=begun):
        recipe = recipe.continued(made.manifest.about.name)
    elif (before := recipe.warm_start.after) is not None:
        raise RecipeError(
            f"{recipe.name} goes on from {before}: `d3data distill {before}`, and then this with "
            f"--from ./runs/{before}/artifact"
        )
    started = _started(Path(out), recipe)
    plan = plan_run(
        recipe,
        data=None if data is None else str(data),
        folder=Path(out),
        resources=resources,
        threads=started.get("threads", {}),
        experts=None if experts is None else Path(experts),
        save_every=save_every,
        imagine=imagine,
    )
    if made:
        steps = recipe.steps + recipe.quantize.steps
        finished.require_fits(made, plan.content, steps=steps)
        plan = replace(plan, start=made)
    about(plan, seconds=0.0, device=resources.device)  # checks the names in the recipe
    if started and started["fingerprint"] != plan.task.fingerprint:
        raise ForeignRunError(
            f"{out} was started with other images (fingerprint {started['fingerprint'][:12]}, "
            f"not {plan.task.fingerprint[:12]}): give the same images, or choose another folder "
            "(--out)"
        )
    return plan


def _check_options(*, save_every: float, workers: int | None = None, attempts: int = 1) -> None:
    for name, number in (("workers", workers), ("attempts", attempts)):
        if number is not None and number < 1:
            raise RecipeError(f"{name} must be an integer >= 1, got {number}")
    if not 0 <= save_every < math.inf:
        raise RecipeError(f"save_every must be seconds >= 0, got {save_every}")


def _started(folder: Path, recipe: Recipe) -> Mapping[str, Any]:
    """The environment in which a run in `folder` was started; empty where there is none."""
    if not (folder / RECIPE).exists():
        ours = {ENVIRONMENT, finished.FOLDER, *lock_files(Path(LOCK))}
        ours |= {path.name for pattern in STARTED for path in folder.glob(pattern)}
        if others := sorted({path.name for path in folder.glob("*")} - ours):
            raise ForeignRunError(
                f"{folder} is not a run and not empty (it has {others[0]}): choose another folder"
            )
        return {}
    owner = get_recipe(folder / RECIPE)
    if owner.identity != recipe.identity:
        differing = some(sorted(_differing("", owner.dump(), recipe.dump())))
        raise ForeignRunError(
            f"{folder} was started with another recipe ({owner.name}, identity "
            f"{owner.identity[:12]}, not {recipe.name}, identity {recipe.identity[:12]}); they "
            f"differ in {differing}: choose another folder (--out), or run {folder / RECIPE}"
        )
    return read_environment(folder)


def _differing(place: str, one: Any, other: Any) -> Iterator[str]:
    """The keys whose values differ, such as `source.decoder.width`."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {*one, *other}:
            yield from _differing(f"{place}.{key}".lstrip("."), one.get(key), other.get(key))
    elif one != other:
        yield place


def _claim(
    folder: Path,
    plan: Plan,
    resources: Resources,
    driver: Driver,
    options: Mapping[str, str | list[str]],
) -> None:
    """Write what the folder belongs to, or note how this machine differs from the first."""
    for pattern in (*STARTED, ".artifact.*"):
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    now = {
        "versions": versions(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "device": resources.device,
        "fingerprint": plan.task.fingerprint,
        "classes": len(plan.task.classes),
        "threads": {stage: jobs[0].threads for stage, jobs in plan.stages.items() if jobs},
        "jobs": {stage: len(jobs) for stage, jobs in plan.stages.items()},
        "options": options,
    }
    if not (folder / RECIPE).exists():
        finished.keep(folder, plan.start)
        write_json(folder / ENVIRONMENT, now)
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


def _leave(folder: Path) -> None:
    """Remove what holding an empty folder has left in it, and the folder."""
    ours = lock_files(Path(LOCK))
    if {path.name for path in folder.iterdir()} <= ours:
        for name in ours:
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _executor(
    executor: ExecutorName | Executor, device: str, workers: int | None, retries: Retries
) -> tuple[Executor, Resources]:
    """The executor, and what its jobs may use, which is checked."""
    if executor == "ray":
        executor = Ray(workers=workers, retries=retries)
    elif executor == "slurm":
        executor = Slurm(workers=workers, retries=retries)
    if isinstance(executor, Ray | Slurm):
        return executor, executor.resources(device)
    if isinstance(executor, Inline):
        alone = find_resources(device, None, inline=True)
        return executor, replace(alone, each=executor.threads)
    resources = find_resources(device, workers, inline=executor == "inline")
    if executor == "processes":
        return Processes(resources.workers, resources.devices, retries), resources
    if executor == "inline":
        return Inline(retries), resources
    if isinstance(executor, str):
        raise RecipeError(
            f"unknown executor {executor!r}: {nearest(executor, get_args(ExecutorName))}"
        )
    return executor, resources
