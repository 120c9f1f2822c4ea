"""What is asked and what is answered, before and after they are HTTP."""

import json
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from d3data.testing.refusals import Invalid, Refusal


@dataclass(frozen=True)
class Call:
    """A request: header names are in lower case, `quoted` is the path as it was sent."""

    method: str
    quoted: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path with %2F and the like resolved."""
        return urllib.parse.unquote(self.quoted)

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            raise Invalid("the body is not JSON") from None
        if not isinstance(value, dict):
            raise Invalid("the body is not a JSON object")
        return value

    def one(self, name: str, default: str = "") -> str:
        """The last value of a query parameter."""
        return self.query.get(name, [default])[-1]

    def flag(self, name: str) -> bool:
        """Whether a query parameter is on."""
        return self.one(name).lower() in ("1", "true")


@dataclass(frozen=True)
class Reply:
    """An answer; Content-Length is that of `body`, also where only its headers are sent."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(value: Any, headers: Mapping[str, str] | None = None, *, status: int = 200) -> Reply:
    """A reply that is a JSON document."""
    body = json.dumps(value).encode()
    return Reply(status, body, {"Content-Type": "application/json", **(headers or {})})


def refused(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Reply:
    """A refusal as its client wants it: in the body and in headers."""
    message = str(refusal)
    told = {"X-Error-Message": " ".join(message.encode("ascii", "replace").decode().split())}
    if refusal.code:
        told["X-Error-Code"] = refusal.code
    return as_json({"error": message}, {**told, **(headers or {})}, status=refusal.status)


def page(call: Call, items: Sequence[Any], size: int, *, endpoint: str) -> Reply:
    """The page of a listing that `cursor` asks for, linked to the next."""
    start = int(call.one("cursor", "0"))
    headers = {}
    if start + size < len(items):
        query = {**call.query, "cursor": [str(start + size)]}
        url = f"{endpoint}{call.quoted}?{urllib.parse.urlencode(query, doseq=True)}"
        headers["Link"] = f'<{url}>; rel="next"'
    return as_json(items[start : start + size], headers)


def ranged(call: Call, content: bytes, headers: Mapping[str, str]) -> Reply:
    """A content, or the part of it that the request's Range asks for.

    Source: RFC 9110, section 14; several ranges at once are answered with the whole.
    """
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
    unit, _, asked = call.headers.get("range", "").partition("=")
    first, dash, last = asked.partition("-")
    if unit != "bytes" or not dash or "," in asked or not (first + last).isdigit():
        return Reply(200, content, headers)
    size = len(content)
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size or stop <= start:
        return Reply(416, b"", {**headers, "Content-Range": f"bytes */{size}"})
    where = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return Reply(206, content[start:stop], {**headers, **where})
