"""The driver of a run: has the jobs of a plan done, reports events, and logs them."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from d3data import artifact
from d3data.distill.executors import Executor, Failed
from d3data.distill.jobs import Job
from d3data.distill.plan import Plan
from d3data.distill.progress import JobProgress, cannot_log
from d3data.distill.write import write_artifact
from d3data.errors import ArtifactError, JobError

LOG = "progress.jsonl"

What = Literal["planned", "progress", "done", "failed", "note", "written"]


@dataclass(frozen=True)
class Event:
    """Something that happened in a run, of whose `total` jobs `done` are done.

    `failed` is one attempt at a job, after which there may be others; a `note` is for the user.
    """

    what: What
    done: int
    total: int
    job: str | None = None
    message: str = ""
    progress: JobProgress | None = None


OnEvent = Callable[[Event], None]


class Driver:
    """Takes a plan to its artifact; `on_event` is called with every event."""

    def __init__(self, plan: Plan, folder: Path, on_event: OnEvent | None) -> None:
        self._plan, self._folder, self._on_event = plan, folder, on_event
        self._artifact = folder / "artifact"
        self._total = len(plan.jobs)
        self._done = sum(job.done for job in plan.jobs)

    def drive(self, executor: Executor) -> Path:
        """Do the jobs that are not done, write the artifact, and return its folder.

        Raises:
            JobError: jobs failed in all their attempts; the others of their stage are done.
            D3DataError: what one of them raised, at once.
        """
        if (todo := self._total - self._done) or not self._is_written():
            self.emit("planned", f"{todo} of {self._total} jobs to do")
        else:
            self.emit("planned", "already finished")
            return self._artifact
        for jobs in self._plan.stages.values():
            self._complete([job for job in jobs if not job.done], executor)
        if not self._is_written():
            write_artifact(self._plan, self._artifact)
            self.emit("written", str(self._artifact))
        return self._artifact

    def emit(
        self,
        what: What,
        message: str = "",
        *,
        job: str | None = None,
        progress: JobProgress | None = None,
    ) -> None:
        """Report an event to the caller, and log it unless it is progress."""
        event = Event(what, self._done, self._total, job, message, progress)
        if what != "progress":
            self._log(event)
        if self._on_event is not None:
            self._on_event(event)

    def _complete(self, jobs: Sequence[Job], executor: Executor) -> None:
        failures: list[JobError] = []
        with closing(executor.run(jobs, watch=self._watch)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, Failed):
                    failures += self._failed(outcome)
                else:
                    self._done += 1
                    self.emit("done", job=outcome.job.name)
        if failures:
            raise _joined(failures)

    def _failed(self, outcome: Failed) -> list[JobError]:
        """The error to raise at the end of the stage, if any; other errors are raised at once."""
        error, name = outcome.error, outcome.job.name
        if not isinstance(error, JobError):
            self._log(Event("failed", self._done, self._total, name, str(error)))
            raise error
        again = "" if outcome.last else "; it will be tried again"
        self.emit("failed", f"attempt {outcome.attempt}: {error}{again}", job=name)
        return [error] if outcome.last else []

    def _watch(self, job: Job, progress: JobProgress) -> None:
        self.emit("progress", job=job.name, progress=progress)

    def _is_written(self) -> bool:
        """Whether the artifact is there and undamaged."""
        try:
            artifact.read(self._artifact).check()
        except ArtifactError:
            return False
        return True

    def _log(self, event: Event) -> None:
        """Append a line to the log of the run, below one that a crash has cut off."""
        values = {key: value for key, value in asdict(event).items() if value not in (None, "")}
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **values}
        path = self._folder / LOG
        try:
            with path.open("ab+") as file:
                if size := file.tell():
                    file.seek(size - 1)
                cut_off = file.read(1) not in (b"", b"\n")
                file.write(b"\n" * cut_off + json.dumps(line).encode() + b"\n")
        except OSError as failure:
            raise cannot_log(path, failure) from failure


def _joined(failures: Sequence[JobError]) -> JobError:
    """One error with the messages and traces of all."""
    messages = "; ".join(str(failure) for failure in failures)
    error = JobError(f"{messages}. Repeat the command to try again, from the last checkpoints")
    for failure in failures:
        for note in getattr(failure, "__notes__", []):
            error.add_note(note)
    return error
