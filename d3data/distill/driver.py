"""The driver of a run: has the jobs of a plan done, logs events, and writes the artifact."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from d3data import artifact
from d3data.artifact.ancestry import ancestry
from d3data.artifact.manifest import About
from d3data.distill.engine import cannot_log
from d3data.distill.plan import Plan, labels_of
from d3data.errors import ArtifactError, JobError
from d3data.executors.base import Done, Executor, Job, joined
from d3data.utils.device import versions
from d3data.utils.progress import Event, Progress, ReportProgress

LOG = "progress.jsonl"


class Driver:
    """Takes a plan to its artifact, and reports every step and event."""

    def __init__(self, plan: Plan, folder: Path, report: ReportProgress) -> None:
        self._plan, self._folder, self._report = plan, folder, report
        self._artifact = folder / "artifact"
        self._total = len(plan.jobs)
        self._done = len(plan.jobs) - len(plan.undone)

    def drive(self, executor: Executor) -> Path:
        """Do what is not done, and return the artifact's folder.

        Jobs that failed in all attempts are a JobError at the end of their stage; errors of ours
        are raised at once.
        """
        if (todo := self._total - self._done) or not self._is_written():
            self.emit("planned", f"{todo} of {self._total} jobs to do")
        else:
            self.emit("planned", "already finished")
            return self._artifact
        undone = {job.name for job in self._plan.undone}
        for jobs in self._plan.stages.values():
            self._complete([job for job in jobs if job.name in undone], executor)
        if not self._is_written():
            write_artifact(self._plan, self._artifact)
            self.emit("written", str(self._artifact))
        return self._artifact

    def emit(self, event: Event, message: str = "", job: str | None = None) -> None:
        happened = self._happened(event, message, job)
        self._log(happened)
        self._report(happened)

    def _happened(self, event: Event, message: str, job: str | None) -> Progress:
        return Progress("run", self._done, self._total, job=job, event=event, message=message)

    def _complete(self, jobs: Sequence[Job], executor: Executor) -> None:
        failures: list[JobError] = []
        with closing(executor.run(jobs, watch=self._watch)) as outcomes:
            for outcome in outcomes:
                name = outcome.job.name
                if isinstance(outcome, Done):
                    self._done += 1
                    self.emit("done", job=name)
                elif not isinstance(error := outcome.error, JobError):
                    self._log(self._happened("failed", str(error), name))
                    raise error
                else:
                    again = "" if outcome.last else "; it will be tried again"
                    self.emit("failed", f"attempt {outcome.attempt}: {error}{again}", job=name)
                    failures += [error] if outcome.last else []
        if failures:
            messages = "; ".join(map(str, failures))
            again = "Repeat the command to try again, from the last checkpoints"
            raise joined(JobError(f"{messages}. {again}"), *failures)

    def _watch(self, job: Job, progress: Progress) -> None:
        self._report(replace(progress, job=job.name))

    def _is_written(self) -> bool:
        try:
            artifact.read(self._artifact).check()
        except ArtifactError:
            return False
        return True

    def _log(self, at: Progress) -> None:
        """Append a line to the log of the run, below one that a crash has cut off."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"time": now, "what": at.event, "done": at.step, "total": at.steps}
        line |= {"job": at.job} if at.job else {}
        line |= {"message": at.message} if at.message else {}
        path = self._folder / LOG
        try:
            with path.open("ab+") as file:
                if size := file.tell():
                    file.seek(size - 1)
                cut_off = file.read(1) not in (b"", b"\n")
                file.write(b"\n" * cut_off + json.dumps(line).encode() + b"\n")
        except OSError as failure:
            raise cannot_log(path, failure) from failure


def write_artifact(plan: Plan, folder: Path) -> None:
    """Write the artifact of a run whose jobs are all done."""
    recipe, task, content = plan.recipe, plan.task, plan.content
    parts = [job.part(task) for job in plan.subtasks]
    for number, job in enumerate(plan.labels):
        tensors = {**parts[number].tensors, "labels": job.labels()}
        parts[number] = replace(parts[number], tensors=tensors, quantization=recipe.quantization)
    states = [job.result.state for job in plan.subtasks]
    seconds = sum(state["seconds"] for state in states)
    artifact.write(
        folder,
        spec=recipe.source,
        image=content.image,
        preprocessing=content.preprocessing,
        classes=content.classes,
        parts=parts,
        about=about(plan, seconds=seconds, device=states[0]["device"]),
        labels=labels_of(recipe),
        draws_per_class=recipe.draws_per_class,
        extras={
            "recipe.toml": recipe.to_toml().encode(),
            **(ancestry([plan.start]) if plan.start else {}),
        },
    )


def about(plan: Plan, *, seconds: float, device: str) -> About:
    """Where the artifact of a run comes from; `seconds` of work went into its subtasks."""
    recipe, task = plan.recipe, plan.task
    leaves = recipe.objective.leaves if recipe.objective else ()
    kinds = dict.fromkeys([recipe.source.kind, *(leaf.kind for leaf in leaves)])
    papers = dict.fromkeys([recipe.source.reference, *(leaf.reference for leaf in leaves)])
    values = {
        "name": recipe.name,
        "version": recipe.version,
        "method": {"name": " + ".join(kinds), "reference": "; ".join(filter(None, papers))},
        "provenance": {
            "task": task.name,
            "licence": task.license,
            "source": task.source,
            "fingerprint": task.fingerprint,
            "images": len(task.train),
            "recipe_sha256": recipe.identity,
            "seeds": (str(recipe.seed),),
            "versions": versions(),
            "device": device,
            "seconds": round(seconds, 1),
            "date": datetime.now(UTC).date().isoformat(),
        },
    }
    return About.parse(values, where=f"the recipe {recipe.name}")
