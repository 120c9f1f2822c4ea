"""Files of a job that is done where its folder is not."""

import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from d3data.executors.base import Job, Message
from d3data.executors.processes import Worker

EVERY = 5.0  # seconds between two looks at what a job has written


class Carried:
    """A job in a folder of its own, to which its files are brought, and from which they come."""

    def __init__(self, told: str, files: Mapping[str, bytes]) -> None:
        self._job, self._files = Job.heard(told), files
        self._seen: dict[Path, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        self._place = tempfile.TemporaryDirectory(prefix="d3data-")
        folders = {path.parent for path in (*self._job.reads, *self._job.writes)}
        outside = {each for each in folders if not each.is_relative_to(self._job.folder)}
        here = Path(self._place.name)
        self._to = {
            str(folder): str(here / str(number))
            for number, folder in enumerate([self._job.folder, *sorted(outside)])
        }
        self._back = {new: old for old, new in self._to.items()}
        for path, content in self._files.items():
            new = Path(moved(path, self._to))
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(content)
        self._written()
        return self

    def __exit__(self, *_: object) -> None:
        self._place.cleanup()

    def messages(self, worker: Worker, threads: int) -> Generator[Message, None, None]:
        """What the worker says, and files that it has written: path -> content."""
        kind = type(self._job)
        values = kind.model_validate(moved(self._job.dump(), self._to))
        last = time.monotonic()
        for message in worker.messages(values.told(), threads):
            if "progress" not in message or time.monotonic() - last > EVERY:
                last = time.monotonic()
                if files := self._written():
                    yield {"files": files}
            yield message

    def _written(self) -> dict[str, bytes]:
        """What has changed since it was last asked for; what is only added to comes last."""
        found = {}
        for path in files_of(Path(moved(str(path), self._to)) for path in self._job.writes):
            about = path.stat()
            if self._seen.get(path) != (now := (about.st_mtime_ns, about.st_size)):
                self._seen[path] = now
                found[moved(str(path), self._back)] = path.read_bytes()
        return found


def moved(value: Any, places: Mapping[str, str]) -> Any:
    """JSON whose paths lie in other places, by what they begin with."""
    match value:
        case dict():
            return {key: moved(inner, places) for key, inner in value.items()}
        case list():
            return [moved(inner, places) for inner in value]
        case str():
            for old, new in places.items():
                if value == old or value.startswith(f"{old}/"):
                    return new + value[len(old) :]
    return value


def files_of(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that there are at some paths, and in folders at some, hidden ones aside."""
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (each for each in inside if each.is_file() and each.name[0] != ".")
