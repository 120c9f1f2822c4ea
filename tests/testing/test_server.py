"""The server as any HTTP client sees it, and how it begins and ends."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from d3data.testing import Answer, Cut, Delay, Drop, Flip, LocalHub
from d3data.testing.server import Call, Reply, Server

FILE = "/datasets/me/x/resolve/main/a.txt"
TEXT = b"0123456789"


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with LocalHub() as hub:
        hub.create("me/x", {"a.txt": TEXT})
        yield hub


@pytest.fixture
def connection(hub: LocalHub) -> Iterator[http.client.HTTPConnection]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port(hub))) as connection:
        yield connection


def port(hub: LocalHub) -> int:
    return int(hub.endpoint.rpartition(":")[2])


def ask(connection, path=FILE, method="GET", body=None, **headers):
    """Status, body and headers of a reply."""
    connection.request(method, path, body=body, headers=headers)
    reply = connection.getresponse()
    return reply.status, reply.read(), reply.headers


def test_a_connection_serves_many_requests(connection) -> None:
    assert ask(connection)[:2] == (200, TEXT)
    first = connection.sock
    for _ in range(3):
        assert ask(connection, method="HEAD")[:2] == (200, b"")
        assert ask(connection, "/nowhere")[0] == 404
        assert ask(connection)[:2] == (200, TEXT)
    assert connection.sock is first
    head = ask(connection, method="HEAD")[2]
    assert {**head, "Date": ""} == {**ask(connection)[2], "Date": ""}
    assert head["Content-Length"] == "10"


@pytest.mark.parametrize(
    ("asked", "status", "body", "where"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-30", 206, TEXT, "bytes 0-9/10"),
        ("bytes=9-99", 206, b"9", "bytes 9-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=5-2", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=0-1,3-4", 200, TEXT, None),
        ("lines=0-1", 200, TEXT, None),
        ("bytes=a-b", 200, TEXT, None),
        ("bytes=-", 200, TEXT, None),
    ],
)
def test_ranges(connection, asked: str, status: int, body: bytes, where: str | None) -> None:
    found = ask(connection, Range=asked)
    assert (*found[:2], found[2]["Content-Range"]) == (status, body, where)


def test_a_body_may_come_in_chunks(connection) -> None:
    card = json.dumps({"content": "---\nlicense: mit\n---\n", "repoType": "dataset"}).encode()
    chunks = (card[n : n + 7] for n in range(0, len(card), 7))
    status, body, _ = ask(connection, "/api/validate-yaml", "POST", body=chunks)
    assert (status, json.loads(body)) == (200, {"errors": [], "warnings": []})


def test_errors_are_said_in_headers_too(connection) -> None:
    status, body, headers = ask(connection, "/datasets/me/x/resolve/main/b")
    assert (status, headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert headers["X-Error-Message"] == json.loads(body)["error"] == "Entry not found"
    assert len(headers["X-Repo-Commit"]) == 40
    missing = ask(connection, "/api/datasets/me/x/revision/v9")
    assert missing[2]["X-Error-Code"] == "RevisionNotFound"
    status, body, _ = ask(connection, "/api/datasets/me/x/xet-write-token/main")
    assert (status, "HF_HUB_DISABLE_XET=1" in body.decode()) == (404, True)
    _, body, _ = ask(connection, "/api/daily_papers")
    assert json.loads(body)["error"] == "GET /api/daily_papers is not supported here"


def test_a_path_may_hold_anything(hub: LocalHub, connection) -> None:
    hub.create("me/odd", {"a b/ü%2F?.txt": b"odd"})
    assert ask(connection, "/datasets/me/odd/resolve/main/a%20b/%C3%BC%252F%3F.txt")[1] == b"odd"
    assert hub.requests.matching("GET")[-1].path.endswith("/a b/ü%2F?.txt")


def test_requests_are_noted(hub: LocalHub, connection) -> None:
    ask(connection, f"{FILE}?download=true", Authorization="Bearer hf_test", Range="bytes=1-2")
    ask(connection, method="HEAD")
    first, second = hub.requests
    assert (str(first), first.user, first.where) == (f"GET {FILE} -> 206", "me", "hub")
    assert (first.query, first.headers["range"]) == ({"download": ["true"]}, "bytes=1-2")
    assert (str(second), second.user) == (f"HEAD {FILE} -> 200", None)
    assert (hub.requests.count(), hub.requests.count("GET")) == (2, 1)
    assert (hub.requests.count(path="*.txt"), hub.requests.count("GET", "*.md")) == (2, 0)
    hub.requests.clear()
    assert len(hub.requests) == 0


def test_a_rule_strikes_as_often_as_it_is_told_to(hub: LocalHub, connection) -> None:
    answer = Answer(503, headers={"Retry-After": "7"}, message="tired", code="Tired")
    rule = hub.faults.add(answer, method="GET", path="*/a.txt", skip=1, times=2)
    statuses = [ask(connection)[0] for _ in range(5)]
    assert (statuses, rule.hits, rule.seen) == ([200, 503, 503, 200, 200], 2, 5)
    struck = hub.requests.matching()[1]
    assert (struck.status, struck.fault) == (503, answer)
    hub.faults.add(answer)
    _, body, headers = ask(connection)
    assert (json.loads(body)["error"], headers["X-Error-Code"]) == ("tired", "Tired")
    assert (headers["X-Error-Message"], headers["Retry-After"]) == ("tired", "7")


def test_a_rule_is_for_what_it_matches(hub: LocalHub, connection) -> None:
    hub.faults.add(Answer(500), method="POST")
    hub.faults.add(Answer(500), path="*.md")
    assert ask(connection)[0] == 200
    forever = hub.faults.add(Answer(500), times=None)
    assert [ask(connection)[0] for _ in range(3)] == [500] * 3
    hub.faults.clear()
    assert (ask(connection)[0], forever.hits) == (200, 3)


def test_cut_and_flip_wait_for_a_body(hub: LocalHub, connection) -> None:
    hub.create("me/y", {"small": b"ab", "large": TEXT})
    cut = hub.faults.add(Cut(4), path="/datasets/me/y/*")
    assert ask(connection, "/datasets/me/y/resolve/main/small")[1] == b"ab"
    assert ask(connection, "/datasets/me/y/resolve/main/large", "HEAD")[0] == 200
    assert ask(connection, "/datasets/me/y/resolve/main/missing")[0] == 404
    assert cut.hits == 0
    connection.request("GET", "/datasets/me/y/resolve/main/large")
    reply = connection.getresponse()
    assert reply.headers["Content-Length"] == "10"
    with pytest.raises(http.client.IncompleteRead) as failure:
        reply.read()
    assert (failure.value.partial, cut.hits) == (b"0123", 1)
    connection.close()
    hub.faults.add(Flip(2))
    assert ask(connection)[1] == b"01\xcd3456789"
    hub.faults.add(Flip(2, bits=1))
    assert ask(connection)[1] == b"0133456789"
    assert hub.repo("me/x").files()["a.txt"] == TEXT


@pytest.mark.parametrize("fault", [Drop(), Drop(acted=True), Answer(500), Answer(500, acted=True)])
def test_the_hub_acts_or_not_before_a_reply_is_lost(hub: LocalHub, connection, fault) -> None:
    hub.faults.add(fault, method="POST")
    tag, headers = b'{"tag":"v1"}', {"Authorization": "Bearer hf_test"}
    try:
        status = ask(connection, "/api/datasets/me/x/tag/main", "POST", tag, **headers)[0]
    except http.client.RemoteDisconnected:
        status = None
    assert status == (None if isinstance(fault, Drop) else 500)
    assert ("v1" in hub.repo("me/x").tags) == fault.acted
    assert list(hub.requests)[-1].status == status


def test_a_delay_waits_and_then_answers(hub: LocalHub, connection, monkeypatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(hub._stopping, "wait", waited.append)
    hub.faults.add(Delay(0.2))
    assert ask(connection)[:2] == (200, TEXT)
    assert waited == [0.2]


def test_a_hub_leaves_nothing_behind() -> None:
    before = set(threading.enumerate())
    with LocalHub() as hub:
        hub.create("me/x", {"a.txt": TEXT})
        hub.faults.add(Delay(3600), path="*/slow")
        connections = [http.client.HTTPConnection("127.0.0.1", port(hub)) for _ in range(3)]
        for connection in connections:
            assert ask(connection)[0] == 200
        connections[0].request("GET", "/slow")
        assert len(set(threading.enumerate()) - before) == 2 + len(connections)
    assert set(threading.enumerate()) == before
    for connection in connections:
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port(hub)), timeout=1)


def test_the_end_waits_for_what_is_being_answered() -> None:
    done = threading.Event()

    def answer(call: Call) -> Reply:
        time.sleep(0.2)
        done.set()
        return Reply()

    server = Server(0, answer)
    with socket.create_connection(("127.0.0.1", server.server_port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        time.sleep(0.05)
        server.stop()
        assert done.is_set()


def test_a_hub_may_be_down_for_a_while(hub: LocalHub, connection) -> None:
    assert ask(connection)[0] == 200
    where = hub.endpoint
    hub.stop()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        ask(connection)
    connection.close()
    hub.start()
    assert hub.endpoint == where
    assert ask(connection)[:2] == (200, TEXT)


def test_a_client_that_goes_away_is_no_trouble(hub: LocalHub, connection) -> None:
    for sent in (b"", b"GET ", b"POST /api/repos/create HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"):
        with socket.create_connection(("127.0.0.1", port(hub))) as client:
            client.sendall(sent)
    assert ask(connection)[0] == 200
    assert hub.requests.count("POST") == 0


def test_a_fault_of_the_hub_itself_is_told(connection, caplog) -> None:
    headers = {"Authorization": "Bearer hf_test"}
    status, body, _ = ask(connection, "/api/repos/create", "POST", b'{"nam": 1}', **headers)
    assert (status, "KeyError" in body.decode()) == (500, True)
    assert "POST /api/repos/create failed" in caplog.text


def test_many_clients_at_once(hub: LocalHub) -> None:
    def statuses(_: int) -> list[int]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port(hub))) as connection:
            return [ask(connection)[0] for _ in range(20)]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(statuses, range(16))) == [[200] * 20] * 16
    assert hub.requests.count("GET") == 320
