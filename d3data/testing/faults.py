"""Faults between a client and the Hub, on demand, and the log of all requests.

>>> faults = Faults()
>>> rule = faults.add(Answer(503, headers={"Retry-After": "0"}), path="*/commit/*", skip=1)

answers the second commit with 503, and the third as usual. `rule.hits` counts. Invalid arguments
raise a D3DataError.
"""

import fnmatch
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from d3data.errors import D3DataError
from d3data.testing.server import Call, Reply, as_json
from d3data.utils.checks import whole


@dataclass(frozen=True)
class Answer:
    """Answer with this status, from 200 to 599, instead.

    Args:
        headers: such as Retry-After, in seconds.
        message: the reason, in the body and in X-Error-Message.
        code: X-Error-Code, which decides what error the client raises.
        acted: whether the Hub executes the request first.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "made to fail"
    code: str | None = None
    acted: bool = False

    def __post_init__(self) -> None:
        whole(self.status, "status", least=200, most=599)

    def reply(self) -> Reply:
        code = {"X-Error-Code": self.code} if self.code else {}
        headers = {"X-Error-Message": self.message, **self.headers, **code}
        return as_json({"error": self.message}, headers, status=self.status)


@dataclass(frozen=True)
class Drop:
    """Close the connection without a reply, before or after the Hub `acted`."""

    acted: bool = False


@dataclass(frozen=True)
class Delay:
    """Wait this many `seconds` before anything is done."""

    seconds: float

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, int | float) or not 0 <= self.seconds < math.inf:
            raise D3DataError(f"seconds must be a number >= 0, got {self.seconds!r}")


@dataclass(frozen=True)
class Cut:
    """Send the headers and `after` bytes of the body, then close the connection."""

    after: int

    def __post_init__(self) -> None:
        whole(self.after, "after")


@dataclass(frozen=True)
class Flip:
    """Send the body with `bits` of its byte `at` flipped: by default all, with 1 the last."""

    at: int = 0
    bits: int = 0xFF

    def __post_init__(self) -> None:
        whole(self.at, "at")
        whole(self.bits, "bits", least=1, most=0xFF)

    def flipped(self, body: bytes) -> bytes:
        return body[: self.at] + bytes([body[self.at] ^ self.bits]) + body[self.at + 1 :]


Fault = Answer | Drop | Delay | Cut | Flip


@dataclass
class Rule:
    """A fault, and its requests: how many were `seen`, and how many it `hits`."""

    fault: Fault
    method: str
    path: str
    skip: int
    times: int | None
    hits: int = 0
    seen: int = 0

    def strikes(self, call: Call) -> bool:
        """Whether it applies to this request; counts it."""
        if not _matches(call, self.method, self.path):
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


class Faults:
    """The rules of a Hub; of several for one request, the first applies."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(
        self,
        fault: Fault,
        *,
        method: str = "*",
        path: str = "*",
        skip: int = 0,
        times: int | None = 1,
    ) -> Rule:
        """Make requests fail.

        Args:
            fault: what goes wrong with them.
            method: GET, HEAD, POST, ...; * is any.
            path: a glob over the path without its query, as in `Request.path`.
            skip: how many matching requests succeed first.
            times: how many then fail; None is all.

        Raises:
            D3DataError: one of these is invalid.
        """
        if not isinstance(fault, Fault):
            raise D3DataError(f"fault must be an Answer, Drop, Delay, Cut or Flip, got {fault!r}")
        if not (isinstance(method, str) and isinstance(path, str)):
            raise D3DataError(f"method and path must be str, got {method!r} and {path!r}")
        whole(skip, "skip")
        if times is not None:
            whole(times, "times", least=1)
        rule = Rule(fault, method, path, skip, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def find(self, call: Call, reply: Reply | None = None) -> Fault | None:
        """The fault of a request: without a reply, one before the Hub acts; else one after it."""
        with self._lock:
            for rule in self._rules:
                if _is_due(rule.fault, call, reply) and rule.strikes(call):
                    return rule.fault
        return None


@dataclass(frozen=True)
class Request:
    """One request and its outcome.

    `path` is decoded and has no query; `headers` are in lower case; `size` is that of its body in
    bytes; `user` is the owner of its token; `status` is None where the connection was dropped.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    size: int
    user: str | None
    where: Literal["hub", "storage"]
    status: int | None
    fault: Fault | None

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status or 'dropped'}"


class Requests:
    """The requests since the start, or since `clear`, in the order of their answers."""

    def __init__(self) -> None:
        self._requests: list[Request] = []

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._requests))

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def matching(self, method: str = "*", path: str = "*") -> list[Request]:
        """Those with this method, and a path that matches the glob `path`."""
        return [request for request in self if _matches(request, method, path)]

    def count(self, method: str = "*", path: str = "*") -> int:
        """How many `matching` returns."""
        return len(self.matching(method, path))

    def clear(self) -> None:
        self._requests.clear()

    def add(self, request: Request) -> None:
        self._requests.append(request)


def _matches(call: "Call | Request", method: str, path: str) -> bool:
    return method in ("*", call.method) and fnmatch.fnmatchcase(call.path, path)


def _is_due(fault: Fault, call: Call, reply: Reply | None) -> bool:
    early = isinstance(fault, Delay) or (isinstance(fault, Answer | Drop) and not fault.acted)
    if early or reply is None:
        return early and reply is None
    if isinstance(fault, Cut | Flip):  # they wait for a body that is long enough
        least = fault.after if isinstance(fault, Cut) else fault.at
        return call.method != "HEAD" and reply.status < 300 and len(reply.body) > least
    return True
