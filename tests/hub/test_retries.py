"""A Hub that is busy is asked again, when it says, a few times; nothing is done twice."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import hubs
from d3data.errors import AccessError, UnreachableError
from d3data.hub import retries
from d3data.publishing import publish
from d3data.testing import Answer, LocalHub, User

pytestmark = pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
OWNER, STRANGER = User("me", "hf_me"), User("other", "hf_other")
REQUESTS = {  # of a first publication, which huggingface_hub sends once
    "first": ("GET", "*/refs"),
    "create": ("POST", "/api/repos/create"),
    "commit": ("POST", "*/commit/*"),
    "tag": ("POST", "*/tag/*"),
}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is waited for, without waiting."""
    waits = list[float]()
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


@pytest.fixture
def hub(tmp_path: Path, waits: list[float]) -> Iterator[LocalHub]:
    with LocalHub(users=(OWNER, STRANGER)) as hub, hub.using(tmp_path / "home"):
        yield hub


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize(
    "fault", [Answer(429, headers={"Retry-After": "7"}),
              Answer(503, headers={"Retry-After": "7"}, acted=True)], ids=str
)  # fmt: skip
def test_a_busy_hub_is_asked_again_when_it_says(
    hub: LocalHub, toys: Path, waits: list[float], request_: str, fault: Answer
) -> None:
    method, path = REQUESTS[request_]
    rule = hub.faults.add(fault, method=method, path=path, times=2)
    publish(toys, "me/toys")
    assert rule.hits == 2
    assert waits[:2] == [7, 7]
    assert len(hub.repo("me/toys").tags) == 1
    hubs.resolve("me/toys@1.2.3")


@pytest.mark.parametrize("request_", REQUESTS)
def test_in_the_end_it_is_the_users_turn(
    hub: LocalHub, toys: Path, waits: list[float], request_: str
) -> None:
    method, path = REQUESTS[request_]
    rule = hub.faults.add(Answer(429), method=method, path=path, times=None)
    with pytest.raises(UnreachableError, match="too many requests"):
        publish(toys, "me/toys")
    assert rule.hits == 1 + len(retries.WAITS)
    assert waits == list(retries.WAITS)


@pytest.mark.parametrize("said", ["3600", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_long_waits_are_left_to_the_user(
    hub: LocalHub, toys: Path, waits: list[float], said: str
) -> None:
    hub.faults.add(Answer(429, headers={"Retry-After": said}), path="*/refs")
    with pytest.raises(UnreachableError, match=r"asks to wait \d{4,} s"):
        publish(toys, "me/toys")
    assert waits == []


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("0", 0),
        ("-5", 1),
        ("soon", 1),
        ("1e9", 1),
        ("", 1),
    ],
)
def test_retry_after_may_be_a_date_and_nonsense_is_no_wait(
    hub: LocalHub, toys: Path, waits: list[float], said: str, seconds: float
) -> None:
    hub.faults.add(Answer(503, headers={"Retry-After": said}), path="*/refs")
    publish(toys, "me/toys")
    assert waits[0] == seconds


def test_a_pull_request_is_opened_once(hub: LocalHub, toys: Path, tmp_path: Path) -> None:
    hub.create("me/toys", {"README.md": b"# Toys"})
    hub.faults.add(Answer(503, acted=True), method="POST", path="*/commit/*")
    with hub.using(tmp_path / "other", user=STRANGER):
        with pytest.raises(UnreachableError, match="try again later"):
            publish(toys, "me/toys", create_pr=True)
        publish(toys, "me/toys", create_pr=True)
    assert hub.requests.count("POST", "*/commit/*") == 1


def test_who_may_not_commit_is_told_to_propose(hub: LocalHub, toys: Path, tmp_path: Path) -> None:
    hub.create("me/toys", {"README.md": b"# Toys"})
    with hub.using(tmp_path / "other", user=STRANGER):
        with pytest.raises(AccessError, match=r"does not have permission.*--create-pr"):
            publish(toys, "me/toys")
        assert publish(toys, "me/toys", create_pr=True).pull_request
