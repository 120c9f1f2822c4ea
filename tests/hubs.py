"""A local Hub, publishers and readers of it in processes of their own, and what must hold then."""

import hashlib
import json
import os
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import d3data
import made
import tiny_runs
from d3data import artifact
from d3data.artifact.manifest import NAME, parse
from d3data.errors import HubError
from d3data.evaluation.baselines import Photographs, RowData
from d3data.evaluation.record import Row, Trial
from d3data.evaluation.report import Report
from d3data.hub import index, names
from d3data.hub.client import HubOptions
from d3data.hub.local import LocalCopy, listed
from d3data.hub.resolve import resolve as resolved
from d3data.publishing import publish
from d3data.testing import LocalHub, client
from d3data.utils.atomic import file_sizes

CLIENT_S_OWN = "ignore:Use 'content=<...>' to upload:DeprecationWarning"  # of uploads, in 2.4


@pytest.fixture(autouse=True)
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the short names that come with d3data are known."""
    monkeypatch.delenv(index.VARIABLE, raising=False)


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of three parts."""
    return made.write(tmp_path_factory.mktemp("artifacts") / "toys").folder


@pytest.fixture(scope="session")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another artifact of the same name and version."""
    return made.write(tmp_path_factory.mktemp("artifacts") / "toys", "pixels").folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A Hub that this process talks to; nobody waits before trying again."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with LocalHub() as hub, hub.using(tmp_path / "home"):
        yield hub


def report(place: Path) -> Report:
    """What networks might reach on an artifact."""
    page = artifact.read(place).manifest
    protocol = {"steps": 1, "batch": 1, "learning_rates": (0.1,), "augment": "none"}
    trial = Trial(
        seed=0,
        learning_rate=0.1,
        accuracy=0.5,
        per_class=(0.5,) * 5,
        confusion=None,
        loss=1.0,
        steps=1,
        images=1,
        flops=1,
        memory=None,
        seconds=1.0,
        curve=(),
    )
    of = RowData(Photographs(torch.zeros(1), torch.zeros(1)), None, 1, 1)
    row = Row.of("distilled", [trial], network="convnet-w4", labels="hard", of=of)
    return Report.parse(
        {
            "data": "toys",
            "content_sha256": page.content_sha256,
            "task": "toys",
            "fingerprint": "ab" * 32,
            "split": "test",
            "tests": 10,
            "classes": page.content.classes,
            "protocol": {"name": "tiny", "version": 1, "network": {"width": 4}, **protocol},
            "rows": [row],
            "device": "cpu",
            "threads": 1,
            "versions": {},
            "date": "2026-02-03",
        },
        where="a report",
    )


def resolve(name: str | Path, *, extras: bool = False, **options: Any) -> LocalCopy:
    """A data set on this machine, by a name."""
    return resolved(name, HubOptions(**options), extras=extras)


def files_of(place: Path) -> dict[str, bytes]:
    """All files of an artifact, by path."""
    return {path: (place / path).read_bytes() for path in file_sizes(place)}


def there(hub: LocalHub, place: Path, name: str = "me/toys", *, tagged: bool = True) -> str:
    """Put an artifact on a Hub as it is, under the tag of its version; the commit."""
    repository = hub.create(name, files_of(place))
    if tagged:
        repository.tag(names.tag(artifact.read(place).manifest.about.version))
    return repository.head


def images(data: Any) -> str:
    """What the first draws of all classes are, as a digest."""
    drawn, labels = data.batch(0, range(min(len(data), 2 * len(data.classes))))
    whole = np.concatenate([drawn.numpy().ravel(), labels.numpy().ravel()])
    return hashlib.sha256(whole.tobytes()).hexdigest()


def unsound(hub: LocalHub, name: str) -> list[str]:
    """The tags of a repository that do not hold a whole set of their version."""
    found = []
    repository = hub.repo(name)
    for tag, commit in repository.tags.items():
        files = repository.files(commit)
        try:
            page = parse(files[NAME], where=tag)
            for entry in listed(page):
                assert hashlib.sha256(files[entry.path]).hexdigest() == entry.sha256
            assert tag == names.tag(page.about.version)
        except Exception:
            found.append(tag)
    return found


class Outcome(NamedTuple):
    """How work in a process ended: `value`, the name and message of an error, or killed."""

    value: Any = None
    error: str | None = None
    message: str = ""
    killed: bool = False


def load(name: str, **options: Any) -> dict[str, Any]:
    """Load a set; what came."""
    data = d3data.load(name, **options)
    return {"revision": data.revision, "version": data.version, "images": images(data)}


def in_read_only(home: Path, names: list[str], elsewhere: Path) -> list[tuple[Any, str]]:
    """What comes of loading sets where nothing can be written, as for a user who may only read."""
    d3data.load(names[0], cache_dir=elsewhere)  # imports all that it takes
    for place in (home, *home.rglob("*")):
        if place.is_dir():
            place.chmod(0o555)
    found: list[tuple[Any, str]] = []
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)  # root may write anywhere
    for name in names:
        try:
            found.append((d3data.load(name).revision, ""))
        except HubError as failure:
            found.append((None, str(failure)))
    os.seteuid(before)
    return found


def send(place: Path, name: str, **options: Any) -> dict[str, Any]:
    """Publish a set; the commit of its tag."""
    return {"commit": publish(place, name, **options).commit}


class Process:
    """Work that another process does, as a client of a Hub."""

    def __init__(
        self, variables: Mapping[str, str], log: Path, work: Any, *words: Any, **more: Any
    ):
        self.answer = log.with_suffix(".json")
        self.process: Any = tiny_runs.PROCESSES.Process(
            target=_work, args=(dict(variables), log, self.answer, work, words, more)
        )
        self.process.start()

    def kill(self) -> None:
        """End it with SIGKILL, if it is not over yet."""
        self.process.kill()

    def end(self) -> Outcome:
        """Wait for it."""
        self.process.join(120)
        assert self.process.exitcode is not None, "a client hangs"
        if not self.answer.exists():
            return Outcome(killed=True)
        return Outcome(*json.loads(self.answer.read_text()))


def run(variables: Mapping[str, str], log: Path, work: Any, *words: Any, **more: Any) -> Outcome:
    """Let another process do some work, and wait for it."""
    return Process(variables, log, work, *words, **more).end()


def _work(
    variables: dict[str, str], log: Path, answer: Path, work: Any, words: Any, more: Any
) -> None:
    """Work in a process of its own, whose output goes to a file; its retries do not wait."""
    log.parent.mkdir(parents=True, exist_ok=True)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    tempfile.tempdir = str(log.parent)  # where what a killed process leaves is cleared away
    time.sleep = lambda seconds: None
    with client.using(variables):
        try:
            told: tuple[Any, ...] = (work(*words, **more), None, "")
        except BaseException as failure:
            traceback.print_exc()
            told = (None, type(failure).__name__, str(failure))
    half = answer.with_suffix(".half")
    half.write_text(json.dumps(told))
    half.replace(answer)
