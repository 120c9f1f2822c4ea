"""What drives a run: has its jobs done, and tells and notes down what happens."""

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
from d3data.distill.progress import Progress
from d3data.distill.write import write_artifact
from d3data.errors import ArtifactError, JobError, RunError

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
    progress: Progress | None = None


Tell = Callable[[Event], None]


class Driver:
    """Takes a plan to its artifact; `tell` is called with all that happens."""

    def __init__(self, plan: Plan, folder: Path, tell: Tell | None) -> None:
        self._plan, self._folder, self._tell = plan, folder, tell
        self._total = len(plan.jobs)
        self._done = sum(job.done for job in plan.jobs)

    def drive(self, executor: Executor) -> Path:
        """Have done what is not, and return the folder of the artifact.

        Raises:
            JobError: jobs failed in all their attempts; the others of their stage are done.
            D3DataError: what one of them raised, at once.
        """
        self.tell("planned", message=f"jobs to do: {self._total - self._done}")
        for jobs in self._plan.stages.values():
            self._complete([job for job in jobs if not job.done], executor)
        return self._finish()

    def tell(
        self,
        what: What,
        message: str = "",
        *,
        job: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Tell the caller, and note down all but progress."""
        event = self._event(what, message, job, progress)
        if what != "progress":
            _note(self._folder / LOG, event)
        if self._tell is not None:
            self._tell(event)

    def _complete(self, jobs: Sequence[Job], executor: Executor) -> None:
        failures: list[JobError] = []
        with closing(executor.run(jobs, watch=self._watch)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, Failed):
                    failures += self._failed(outcome)
                else:
                    self._done += 1
                    self.tell("done", job=outcome.job.name)
        if failures:
            raise _together(failures)

    def _failed(self, outcome: Failed) -> list[JobError]:
        """What is to be raised at the end of the stage; other errors are raised at once."""
        error, name = outcome.error, outcome.job.name
        if not isinstance(error, JobError):
            _note(self._folder / LOG, self._event("failed", str(error), name))
            raise error
        again = "" if outcome.last else "; it will be tried again"
        self.tell("failed", f"attempt {outcome.attempt}: {error}{again}", job=name)
        return [error] if outcome.last else []

    def _event(
        self, what: What, message: str, job: str | None, progress: Progress | None = None
    ) -> Event:
        return Event(what, self._done, self._total, job, message, progress)

    def _watch(self, job: Job, progress: Progress) -> None:
        self.tell("progress", job=job.name, progress=progress)

    def _finish(self) -> Path:
        """Write the artifact, unless it is there and whole."""
        place = self._folder / "artifact"
        try:
            artifact.read(place).check()
        except ArtifactError:
            write_artifact(self._plan, place)
            self.tell("written", str(place))
        return place


def _together(failures: Sequence[JobError]) -> JobError:
    """One error that says what all do, with their traces."""
    said = "; ".join(str(failure) for failure in failures)
    error = JobError(f"{said}. The same command tries again, from the last checkpoints")
    for failure in failures:
        for note in getattr(failure, "__notes__", []):
            error.add_note(note)
    return error


def _note(path: Path, event: Event) -> None:
    """Append a line to the log of a run, below a line that a crash has torn."""
    said = {key: value for key, value in asdict(event).items() if value not in (None, "")}
    line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **said}
    try:
        with path.open("ab+") as file:
            if size := file.tell():
                file.seek(size - 1)
            torn = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * torn + json.dumps(line).encode() + b"\n")
    except OSError as failure:
        raise RunError(
            f"cannot write {path}: {failure.strerror}; free some space and repeat: "
            "the run goes on where it was"
        ) from failure
