"""A study is run: a job for each entry distills it, evaluates it, and leaves its results."""

import hashlib
import json
import math
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
from d3data.errors import D3DataError, JobError
from d3data.evaluation import evaluate
from d3data.evaluation.studies.noise import scale_noise
from d3data.evaluation.studies.page import Page, Result, results
from d3data.evaluation.studies.study import Study, read_study
from d3data.executors.base import LOCK, Executor, Failed, Inline, Job, Memory
from d3data.utils.atomic import write_json
from d3data.utils.device import using_threads
from d3data.utils.lock import hold_range
from d3data.utils.packages import naming_packages
from d3data.utils.paths import from_anywhere
from d3data.utils.progress import Progress, ReportProgress, ignore
from d3data.utils.text import counted

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
        return self.folder / "results" / f"{self.name}.json"

    @cached_property
    def identity(self) -> str:
        """The hash of everything in the study that decides its results, the machine aside."""
        entry = self.study.entries[self.number]
        recipe = entry.made_by(self.root)
        content = recipe and recipe.identity
        if (finished := entry.finished(self.root)) is not None:
            content = as_artifact(finished).manifest.content_sha256
        shared = self.study.dump()
        for key in ("name", "claim", "verdict", "entries", "own"):
            shared.pop(key, None)
        rules = [
            self.study.protocol(name).dump() for name in entry.protocols or self.study.protocols
        ]
        page = [entry.dump(), content, shared, rules]
        return hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()

    @property
    def settings(self) -> dict[str, Any]:
        """What its results are of."""
        return {"identity": self.identity, "data": self.data, "device": self.device}

    @property
    def found(self) -> list[Result] | None:
        """Its results; None if there are none yet, or they are of other settings."""
        with suppress(OSError, ValueError, KeyError, TypeError, D3DataError):
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
        for protocol in entry.protocols or self.study.protocols:
            rows += results(
                entry.name,
                evaluate(
                    made,
                    data=self.data,
                    protocol=self.study.protocol(protocol),
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
        entry = self.study.entries[self.number]
        recipe = entry.made_by(self.root)
        if recipe is None:
            finished = entry.finished(self.root)
            assert finished is not None, "an entry has a recipe or a set"
            return finished, None
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
        """The set as the entry has it: in fewer bits, with other noise, baked."""
        entry = self.study.entries[self.number]
        if entry.bits is not None:
            made = self._written("stored", partial(quantize, made, bits=entry.bits))
        if entry.noise is not None:
            made = self._written("noise", partial(scale_noise, made, entry.noise))
        if entry.baked is not None:
            made = self._written("baked", partial(bake, made, draws_per_item=entry.baked))
        return made

    def _written(self, kind: str, write: Callable[..., object]) -> Path:
        folder = self.folder / kind / f"{self.name}-{self.identity[:12]}"
        if not folder.exists():
            write(out=folder)
        return folder


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
        JobError: entries failed; the results of the others stay.
    """
    root, folder = Path.cwd(), Path(out).absolute()
    if not isinstance(study, Study):
        root = Path(study).absolute().parent
        study = read_study(study)
    else:
        study.require_sound(root)
    common: dict[str, Any] = {
        "folder": folder,
        "device": str(device),
        "threads": threads or torch.get_num_threads(),
        "study": study,
        "root": root,
        "data": None if data is None else from_anywhere(data),
    }
    jobs = [
        EntryJob(name=entry.name, number=number, **common)
        for number, entry in enumerate(study.entries)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    undone = [job for job in jobs if job.found is None]
    if undone:
        told = f"{len(undone)} of {counted(len(jobs), 'entry', 'entries')} to do"
        progress(Progress("study", 0, len(undone), event="planned", message=told))
    _complete(undone, executor or Inline(), progress)
    page = Page(
        study=study.name,
        identity=hashlib.sha256("".join(job.identity for job in jobs).encode()).hexdigest(),
        results=tuple(result for job in jobs for result in job.found or ()),
    )
    write_json(folder / PAGE, page.dump())
    return page


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
        raise JobError(
            f"{len(failures)} of {len(jobs)} entries failed, the others are kept: "
            + "; ".join(failures)
        )
