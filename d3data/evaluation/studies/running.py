"""A study is run: a job for each entry distills it, evaluates it, and leaves its results."""

import hashlib
import json
import math
import os
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from d3data import artifact
from d3data.data.bake import bake
from d3data.data.requantize import quantize
from d3data.data.sets import AnySet, as_artifact
from d3data.distill import runs
from d3data.distill.recipe import Recipe
from d3data.errors import D3DataError, JobError, RunError
from d3data.evaluation import evaluate
from d3data.evaluation.studies.deriving import interpolate, scale_noise
from d3data.evaluation.studies.page import Page, Result, results
from d3data.evaluation.studies.study import Study, read_study
from d3data.executors.base import LOCK, Executor, Failed, Inline, Job, Memory
from d3data.images.tasks import TaskSpec
from d3data.utils.atomic import write_json
from d3data.utils.device import using_threads
from d3data.utils.hashing import file_sha256
from d3data.utils.lock import hold_range
from d3data.utils.packages import naming_packages
from d3data.utils.paths import from_anywhere
from d3data.utils.progress import Progress, ReportProgress, ignore
from d3data.utils.text import counted, some

PAGE = "study.json"


class EntryJob(Job):
    """Make the set of entry `number` of a study, and evaluate it; `root` is where recipes are."""

    study: Study
    number: int
    root: Path
    data: str | None

    @property
    def path(self) -> Path:
        """Where its results go."""
        return self.folder / "results" / f"{self.name}-{self.identity[:12]}.json"

    @cached_property
    def identity(self) -> str:
        """The hash of all settings that decide its results."""
        study, entry = self.study, self.study.entries[self.number]
        between = [entry.interpolated] if entry.interpolated else []  # kept results have three
        page = {
            "name": entry.name,
            "content": self._content(),
            "derived": [entry.bits, entry.noise, entry.baked, *between],
            "protocols": [one.dump() for one in entry.judged_by(study)],
            "networks": [*study.nets, entry.networks or study.networks],
            "baselines": entry.judged_beside(study),
            "training": [study.split, study.compile, study.precision, study.scores],
        }
        return hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()

    @property
    def origin(self) -> Recipe | str:
        """The recipe of its set, or the set that there is."""
        return self.study.entries[self.number].origin(self.root)

    @property
    def task(self) -> TaskSpec:
        """The real images that its set is made from, or was."""
        if isinstance(origin := self.origin, Recipe):
            return origin.task
        return TaskSpec(name=as_artifact(origin).manifest.about.provenance.task)

    def _content(self) -> str:
        """The hash of what the set is, or of what it is made by."""
        if isinstance(origin := self.origin, Recipe):
            return origin.identity
        return as_artifact(origin).manifest.content_sha256

    @property
    def settings(self) -> dict[str, Any]:
        """What its results are of."""
        origin = self.origin
        weights = origin.warm_start.weights if isinstance(origin, Recipe) else None
        return {
            "identity": self.identity,
            "weights": weights and file_sha256(Path(weights)),
            "data": self.data or os.environ.get("D3DATA_DATA"),
            "device": self.device,
        }

    @property
    def found(self) -> list[Result] | None:
        """Its results; None if there are none yet, or they are of other settings."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, D3DataError):
            page = json.loads(self.path.read_bytes())
            if self.settings.items() <= page.items():
                return [Result.parse(one, where=str(self.path)) for one in page["results"]]
        return None

    def perform(self, report: ReportProgress, memory: Memory) -> None:
        if self.found is not None:
            return
        with using_threads(self.threads):
            self._evaluate(report)

    def _evaluate(self, report: ReportProgress) -> None:
        entry = self.study.entries[self.number]
        baselines = entry.judged_beside(self.study)
        distilled, seconds = self._made(report)
        made = self._derived(distilled)
        rows = list[Result]()
        for protocol in entry.judged_by(self.study):
            rows += results(
                entry.name,
                evaluate(
                    made,
                    data=self.data,
                    protocol=protocol,
                    nets=self.study.nets or None,
                    seeds=range(entry.networks or self.study.networks),
                    baselines=baselines or "none",
                    scores=self.study.scores,
                    split=self.study.split,
                    device=self.device,
                    compile=self.study.compile,
                    precision=self.study.precision,
                    progress=report,
                ),
                seconds,
            )
        page = {**self.settings, "results": [one.dump() for one in rows]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, page)

    def _made(self, report: ReportProgress) -> tuple[str | Path, float | None]:
        """The set, and the seconds that distilling it took where it was not there."""
        recipe = self.origin
        if isinstance(recipe, str):
            return recipe, None
        folder = self.folder / "runs" / f"{recipe.name}-{recipe.identity[:12]}"
        with hold_range(self.folder / "runs" / LOCK, folder.name, patience=math.inf):
            made = runs.run(
                recipe,
                out=folder,
                data=self.data,
                executor=Inline(threads=self.threads),
                device=self.device,
                experts=self.folder / "experts",
                progress=lambda at: report(at) if at.event == "step" else None,
            )
        return made, artifact.read(made).manifest.about.provenance.seconds

    def _derived(self, made: AnySet) -> AnySet:
        """The set as the entry has it: in fewer bits, with other noise or items, baked."""
        entry = self.study.entries[self.number]
        if entry.bits is not None:
            made = self._written("stored", made, partial(quantize, bits=entry.bits))
        if entry.noise is not None:
            made = self._written("noise", made, partial(scale_noise, factor=entry.noise))
        if entry.interpolated is not None:
            mix = partial(interpolate, items_per_class=entry.interpolated)
            made = self._written("interpolated", made, mix)
        if entry.baked is not None:
            bake_draws = partial(bake, draws_per_item=entry.baked, bits=entry.bits or 32)
            made = self._written("baked", made, bake_draws)
        return made

    def _written(self, kind: str, made: AnySet, write: Callable[..., object]) -> Path:
        content = as_artifact(made).manifest.content_sha256
        folder = self.folder / kind / f"{self.name}-{self.identity[:12]}-{content[:12]}"
        if not folder.exists():
            write(made, out=folder)
        return folder


def identity(study: Study, root: Path) -> str:
    """The hash of all settings of a study whose paths start at `root`, which its page keeps."""
    jobs = _jobs(study, root=root, folder=root, device="cpu", threads=1, data=None)
    return hashlib.sha256("".join(job.identity for job in jobs).encode()).hexdigest()


def _jobs(study: Study, **common: Any) -> list[EntryJob]:
    return [
        EntryJob(name=entry.name, number=number, study=study, **common)
        for number, entry in enumerate(study.entries)
    ]


@naming_packages()
def run(
    study: Study | str | Path,
    *,
    out: str | Path,
    data: str | Path | None = None,
    executor: Executor | None = None,
    device: str | torch.device = "cpu",
    threads: int | None = None,
    progress: ReportProgress = ignore,
) -> Page:
    """Make and evaluate the sets of a study, and write its page to `out`/study.json.

    It may be stopped at any moment and run again: entries that are done stay, others go on from
    their checkpoints. Entries whose settings changed are done anew.

    Args:
        study: a study, or the path of its TOML file, from which paths of recipes and sets start.
        out: the folder of its runs and results.
        data: where the images are, unless recipes or the names of tasks say it.
        executor: has the entries done; in this process one after the other unless given.
        device: cpu, cuda, cuda:N or mps.
        threads: of each entry on a CPU; those of torch unless given.
        progress: called with every step.

    Raises:
        RecipeError: the study, or a recipe of it, cannot be read.
        RunError: `out` cannot be a folder.
        DataError: the images of an entry cannot be read.
        UnknownNameError: where they are is not known.
        JobError: entries failed; the results of the others stay.
    """
    root, folder = Path.cwd(), Path(out).absolute()
    if not isinstance(study, Study):
        root = Path(study).absolute().parent
        study = read_study(study)
    else:
        study.require_sound(root)
    jobs = _jobs(
        study,
        root=root,
        folder=folder,
        device=str(device),
        threads=threads or torch.get_num_threads(),
        data=None if data is None else from_anywhere(data),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise RunError(f"{folder} cannot be a folder: {failure.strerror}") from None
    undone = [job for job in jobs if job.found is None]
    _require_images(undone)
    if undone:
        told = f"{len(undone)} of {counted(len(jobs), 'entry', 'entries')} to do"
        progress(Progress("study", 0, len(undone), event="planned", message=told))
    _complete(undone, executor or Inline(), progress)
    rows = {job.name: job.found for job in jobs}
    if gone := [name for name, found in rows.items() if found is None]:
        raise JobError(f"results of {some(gone)} are gone from {folder}: run the study again")
    page = Page(
        study=study.name,
        identity=identity(study, root),
        results=tuple(result for found in rows.values() for result in found or ()),
    )
    write_json(folder / PAGE, page.dump())
    return page


def _require_images(jobs: list[EntryJob]) -> None:
    """Raise an error where the real images of an entry cannot be read."""
    found = set[TaskSpec]()
    for job in jobs:
        task = job.task
        if task in found:
            continue
        try:
            task.find(job.data)
        except D3DataError as failure:
            raise type(failure)(f"entry {job.name}: {failure}") from None
        found.add(task)


def _complete(jobs: list[EntryJob], executor: Executor, progress: ReportProgress) -> None:
    def watch(job: Job, at: Progress) -> None:
        progress(replace(at, job=job.name))

    failures, done = list[str](), 0
    with closing(executor.run(jobs, watch=watch)) as outcomes:
        for outcome in outcomes:
            name = outcome.job.name
            if isinstance(outcome, Failed):
                again = "" if outcome.last else "; it will be tried again"
                told = f"{outcome.error}{again}"
                progress(
                    Progress("study", done, len(jobs), job=name, event="failed", message=told)
                )
                failures += [f"{name}: {outcome.error}"] if outcome.last else []
            else:
                done += 1
                progress(Progress("study", done, len(jobs), job=name, event="done"))
    if failures:
        others = ", the others are kept" if len(failures) < len(jobs) else ""
        entries = counted(len(jobs), "entry", "entries")
        raise JobError(f"{len(failures)} of {entries} failed{others}: {'; '.join(failures)}")
