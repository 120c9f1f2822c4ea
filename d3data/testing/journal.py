"""What was asked of the Hub, and what it answered."""

import fnmatch
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from d3data.testing.faults import Fault


@dataclass(frozen=True)
class Request:
    """One request and how it ended.

    `path` is decoded and has no query; `headers` are in lower case; `size` is that of its body in
    bytes; `user` is whose token it carried; `status` is None where the connection was dropped.
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
    """The requests since the Hub began, or since `clear`, in the order of their answers."""

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        with self._lock:
            return iter(tuple(self._requests))

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def matching(self, method: str = "*", path: str = "*") -> list[Request]:
        """Those with this method, and a path that the glob `path` fits."""
        return [
            request
            for request in self
            if method in ("*", request.method) and fnmatch.fnmatchcase(request.path, path)
        ]

    def count(self, method: str = "*", path: str = "*") -> int:
        """How many `matching` finds."""
        return len(self.matching(method, path))

    def clear(self) -> None:
        """Forget them all."""
        with self._lock:
            self._requests.clear()

    def add(self, request: Request) -> None:
        """Note one."""
        with self._lock:
            self._requests.append(request)
