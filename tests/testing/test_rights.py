"""Who may do what: every kind of user beside every kind of request."""

import json
from collections.abc import Iterator

import http_client
import pytest

from d3data.testing import LocalHub, User

ME = User("me", "hf_me", organizations=("us",))
YOU = User("you", "hf_you")
READER = User("me", "hf_reader", role="read")
TOKENS = {"me": "hf_me", "you": "hf_you", "reader": "hf_reader", "nobody": "", "wrong": "hf_no"}

READ = ("GET", "/api/datasets/me/{}", None)
FILE = ("GET", "/datasets/me/{}/resolve/main/a.txt", None)
TAG = ("POST", "/api/datasets/me/{}/tag/main", {"tag": "v1"})
COMMIT = ("POST", "/api/datasets/me/{}/commit/main", {"key": "header", "value": {"summary": "s"}})
PROPOSAL = (COMMIT[0], f"{COMMIT[1]}?create_pr=1", COMMIT[2])
DELETE = ("DELETE", "/api/repos/delete", {"name": "{}", "organization": "me", "type": "dataset"})
BATCH = ("POST", "/datasets/me/{}.git/info/lfs/objects/batch", {"operation": "upload"})
SETTINGS = ("PUT", "/api/datasets/me/{}/settings", {"private": True})
WHOAMI = ("GET", "/api/whoami-v2", None)
CREATE = ("POST", "/api/repos/create", {"name": "new", "organization": "me", "type": "dataset"})
OURS = ("POST", "/api/repos/create", {"name": "new", "organization": "us", "type": "dataset"})
CARD = ("POST", "/api/validate-yaml", {"content": ""})


@pytest.fixture
def hub(request: pytest.FixtureRequest) -> Iterator[LocalHub]:
    words = getattr(request, "param", {})
    with LocalHub(users=(ME, READER, YOU), **words) as hub:
        hub.create("me/public", {"a.txt": b"a"})
        hub.create("me/secret", {"a.txt": b"a", "b.bin": b"b"}, private=True)
        yield hub


def ask(hub: LocalHub, who: str, request, repository: str = "public"):
    """The status and the error code of a request."""
    method, path, body = request
    content = body and json.dumps(body).replace("{}", repository, 1).encode()
    status, _, headers = http_client.ask(
        hub, method, path.format(repository), content, token=TOKENS[who]
    )
    return status, headers["X-Error-Code"]


@pytest.mark.parametrize(
    ("request_", "me", "reader", "you", "nobody"),
    [
        (READ, 200, 200, 200, 200),
        (FILE, 200, 200, 200, 200),
        (TAG, 200, 403, 403, 401),
        (COMMIT, 200, 403, 403, 401),
        (PROPOSAL, 200, 403, 200, 401),
        (DELETE, 200, 403, 403, 401),
        (SETTINGS, 200, 403, 403, 401),
        (WHOAMI, 200, 200, 200, 401),
        (CREATE, 200, 403, 403, 401),
        (OURS, 200, 403, 403, 401),
        (CARD, 200, 200, 200, 200),
    ],
)
def test_what_is_public(hub: LocalHub, request_, me, reader, you, nobody) -> None:
    wrong = 200 if request_ is CARD else 401
    wanted = {"wrong": wrong, "nobody": nobody, "reader": reader, "you": you, "me": me}
    repository = hub.repo("me/public")

    def state() -> tuple[object, ...]:
        return (repository.head, repository.tags, repository.pulls, repository.private)

    for who, status in wanted.items():
        before = state()
        assert ask(hub, who, request_)[0] == status, who
        assert status < 400 or state() == before


@pytest.mark.parametrize("request_", [READ, FILE, TAG, COMMIT, PROPOSAL, SETTINGS, BATCH, DELETE])
def test_what_is_private_is_not_there_for_others(hub: LocalHub, request_) -> None:
    assert ask(hub, "you", request_, "secret") == (404, "RepoNotFound")
    status, code = ask(hub, "nobody", request_, "secret")
    assert status == 401
    assert ask(hub, "nobody", request_, "missing") == (status, code)
    assert ask(hub, "you", request_, "missing") == (404, "RepoNotFound")
    assert hub.repo("me/secret").tags == {}


def test_a_reader_and_a_list_show_what_one_may_see(hub: LocalHub) -> None:
    assert ask(hub, "reader", READ, "secret")[0] == 200
    assert ask(hub, "reader", TAG, "secret")[0] == 403
    counts = {
        who: len(http_client.ask(hub, "GET", "/api/datasets", token=TOKENS[who])[1])
        for who in ("me", "reader", "you", "nobody")
    }
    assert counts == {"me": 2, "reader": 2, "you": 1, "nobody": 1}


@pytest.mark.parametrize("hub", [{"anonymous": "nothing"}], indirect=True)
def test_a_closed_hub_answers_nobody_but_checks_cards(hub: LocalHub) -> None:
    for request in (READ, FILE, TAG):
        assert ask(hub, "nobody", request)[0] == 401
        assert ask(hub, "me", request)[0] == 200
    assert ask(hub, "nobody", CARD)[0] == 200


@pytest.mark.parametrize("hub", [{"anonymous": "write"}], indirect=True)
def test_an_open_hub_takes_anybody_for_its_first_user(hub: LocalHub) -> None:
    assert ask(hub, "nobody", COMMIT)[0] == 200
    assert next(hub.repo("me/public").history()).author == "me"
    assert ask(hub, "nobody", READ, "secret")[0] == 200
    assert ask(hub, "wrong", READ)[0] == 401
