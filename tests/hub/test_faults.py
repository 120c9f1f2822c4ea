"""Publishing and loading among faults: nothing half published, nothing corrupt, all can be redone.

Each case is decided by its number: what is done, what goes wrong and at which request. Those that
are killed are processes of their own.
"""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import d3data
import hubs
import made
import tiny_runs
from d3data.errors import D3DataError
from d3data.testing import Answer, Cut, Delay, Drop, Fault, Flip, LocalHub

pytestmark = pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)

CASES = 500 if tiny_runs.soaking() else 3
SPOILT = (Cut, Flip)  # what a load is to survive in every sample, too
STATUSES = (400, 401, 403, 404, 408, 409, 412, 429, 500, 502, 503, 504)
REQUESTS = {"publish": 48, "renew": 40, "load": 15}  # about how many each makes
SECONDS = 1.0  # about as long as each takes


class Case:
    """What one number stands for."""

    def __init__(self, number: int) -> None:
        rng = random.Random(number)
        self.name = f"me/case-{number}"
        self.work = rng.choice(list(REQUESTS))
        self.kill = rng.choice(["no", "no", "at a request", "at a moment"])
        self.moment = rng.uniform(0, SECONDS)
        self.fault: Fault = rng.choice(
            [
                Answer(rng.choice(STATUSES), acted=rng.random() < 0.5),
                Drop(acted=rng.random() < 0.5),
                Cut(rng.choice([0, 1, rng.randrange(3000)])),
                Flip(
                    rng.choice([0, rng.randrange(3000)]), rng.choice([0xFF, 1 << rng.randrange(8)])
                ),
            ]
        )
        self.skip = rng.randrange(REQUESTS[self.work])
        self.times = rng.choice([1, 1, 2, 3, None])

    def spoils_a_load(self, kind: type[Fault]) -> bool:
        """Whether one of the first bodies that a load gets comes with a fault of this kind."""
        undisturbed = self.work == "load" and self.kill == "no"
        return undisturbed and isinstance(self.fault, kind) and self.skip < 3

    def __str__(self) -> str:
        what = {"no": self.fault, "at a request": "killed", "at a moment": self.moment}[self.kill]
        return f"{self.name}: {self.work}, {what} at request {self.skip}, {self.times} times"


class Room:
    """A Hub, the sets that go there, and one home for what is done in this process."""

    def __init__(self, hub: LocalHub, sets: dict[str, Path], folder: Path) -> None:
        self.hub, self.sets, self.folder = hub, sets, folder
        self.ends: Counter[str] = Counter()
        self.struck: Counter[tuple[str, type[Fault]]] = Counter()
        self.truth = {what: hubs.images(d3data.load(place)) for what, place in sets.items()}

    def prepare(self, case: Case) -> None:
        """What is there before: nothing, an older version, or the one that is to be loaded."""
        self.hub.faults.clear()
        if case.work != "publish":
            hubs.there(self.hub, self.sets["old" if case.work == "renew" else "new"], case.name)

    def disturb(self, case: Case) -> Any:
        """Let it go wrong; what came, or None."""
        if case.kill == "no":
            rule = self.hub.faults.add(case.fault, skip=case.skip, times=case.times)
            came, failure = self.attempt(case)
            self.struck[case.work, type(case.fault)] += rule.hits
            assert len(str(failure).splitlines()) == 1, (str(case), failure)
            return came
        return self.killed(case)

    def killed(self, case: Case) -> Any:
        """Do it in a process that is killed, unless it is faster."""
        rule = self.hub.faults.add(Delay(0.2), skip=case.skip)
        log = self.folder / case.name / "log"
        variables = self.hub.environment(self.folder / case.name / "home")
        if case.work == "load":
            process = hubs.Process(variables, log, hubs.load, case.name)
        else:
            process = hubs.Process(variables, log, hubs.send, self.sets["new"], case.name)
        if case.kill == "at a request":
            while not rule.hits and process.process.exitcode is None:
                process.process.join(0.01)
        else:
            process.process.join(case.moment)
        process.kill()
        end = process.end()
        assert end.error is None, (str(case), end)
        return end.value

    def attempt(self, case: Case, **options: Any) -> tuple[Any, D3DataError | None]:
        """What the case is about, in this process; errors of other kinds there are none."""
        with self.hub.using(self.folder / case.name / "home"):
            try:
                if case.work == "load":
                    return hubs.load(case.name, **options), None
                return hubs.send(self.sets["new"], case.name), None
            except D3DataError as failure:
                return None, failure

    def again(self, case: Case) -> Any:
        """The same without faults; what is corrupt in the cache is told, and fetched again."""
        done, failure = self.attempt(case)
        if failure is not None:
            assert case.work == "load", (str(case), failure)
            assert "force_download=True" in str(failure), (str(case), failure)
            done, failure = self.attempt(case, force_download=True)
        assert failure is None, (str(case), failure)
        return done


def cases() -> list[Case]:
    """Those of the sample, and the first in which a load gets a body cut or flipped."""
    known = {number: Case(number) for number in range(500)}
    chosen = set(range(CASES))
    for kind in SPOILT:
        chosen.add(next(n for n, case in known.items() if case.spoils_a_load(kind)))
    return [known[number] for number in sorted(chosen)]


def check(room: Room, case: Case) -> None:
    room.prepare(case)
    came = room.disturb(case)
    room.ends["came" if came else case.kill if case.kill != "no" else "failed"] += 1
    if case.work == "load":
        assert came is None or came["images"] == room.truth["new"], f"corrupt: {case}"
    else:
        tags = dict(room.hub.repo(case.name).tags) if known(room.hub, case.name) else {}
        assert not tags or not hubs.unsound(room.hub, case.name), f"half published: {case}"
        assert (case.work == "renew") == ("v1.0.0" in tags), str(case)
        assert came is None or came["commit"] == tags["v1.2.3"], f"not published: {case}"
    room.hub.faults.clear()
    done = room.again(case)
    if case.work != "load":
        repository = room.hub.repo(case.name)
        assert hubs.unsound(room.hub, case.name) == []
        assert repository.tags["v1.2.3"] == done["commit"], str(case)
        assert set(tags.items()) <= set(repository.tags.items()), f"a tag moved: {case}"
        assert len(list(repository.history())) <= 3, str(case)
    with room.hub.using(room.folder / case.name / "empty"):
        assert hubs.load(f"{case.name}@1.2.3")["images"] == room.truth["new"], str(case)


def known(hub: LocalHub, name: str) -> bool:
    try:
        return bool(hub.repo(name))
    except D3DataError:
        return False


def test_among_faults(tmp_path: Path, toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    first = made.ABOUT.model_copy(update={"version": "1.0.0"})
    old = made.write(tmp_path / "old", "pixels", about=first).folder
    with LocalHub() as hub:
        room = Room(hub, {"new": toys, "old": old}, tmp_path)
        with hub.using(tmp_path / "home"):
            for case in cases():
                check(room, case)
    assert room.ends["came"] < len(cases()) * 0.7, room.ends  # many were disturbed indeed
    assert all(room.struck["load", kind] for kind in SPOILT), room.struck
