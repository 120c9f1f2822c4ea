"""HTTP/1.1 with persistent connections, on a free port of this machine; requests and replies."""

import contextlib
import json
import logging
import socket
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from d3data.testing.refusals import Invalid, Refusal

HOST = "127.0.0.1"
log: logging.Logger = logging.getLogger(__name__)


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
        return self.query.get(name, [default])[-1]

    def flag(self, name: str) -> bool:
        return self.one(name).lower() in ("1", "true")


@dataclass(frozen=True)
class Reply:
    """A response; Content-Length is that of `body`, of which at most `cut` bytes are sent."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


def as_json(value: Any, headers: Mapping[str, str] | None = None, *, status: int = 200) -> Reply:
    """A reply that is a JSON document."""
    body = json.dumps(value).encode()
    return Reply(status, body, {"Content-Type": "application/json", **(headers or {})})


def refused(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Reply:
    """A refusal, in the body and in headers."""
    message = str(refusal)
    fields = {"X-Error-Message": " ".join(message.encode("ascii", "replace").decode().split())}
    if refusal.code:
        fields["X-Error-Code"] = refusal.code
    return as_json({"error": message}, {**fields, **(headers or {})}, status=refusal.status)


def ranged(call: Call, content: bytes, headers: Mapping[str, str]) -> Reply:
    """A content, or the part of it in the request's Range.

    Source: RFC 9110, section 14; several ranges at once are answered with the whole.
    """
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
    unit, _, span = call.headers.get("range", "").partition("=")
    first, dash, last = span.partition("-")
    if unit != "bytes" or not dash or "," in span or not (first + last).isdigit():
        return Reply(200, content, headers)
    size = len(content)
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size or stop <= start:
        return Reply(416, b"", {**headers, "Content-Range": f"bytes */{size}"})
    where = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return Reply(206, content[start:stop], {**headers, **where})


class Server(ThreadingHTTPServer):
    """Answers each request with `answer`, each connection in a thread of its own."""

    request_queue_size = 128
    daemon_threads = False  # so that `server_close` waits for them

    def __init__(self, port: int, answer: Callable[[Call], Reply | None]) -> None:
        self.answer = answer
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((HOST, port), Handler)
        self._loop = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._loop.start()

    def stop(self) -> None:
        """Close the port and all connections, and wait for their threads."""
        self.shutdown()
        self._loop.join()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # it may have ended by itself
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # a client that went away is no error of ours
        log.debug("connection with %s ended early", client_address, exc_info=True)


class Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, writes replies."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are logged elsewhere."""

    def answer(self) -> None:
        if (body := self._body()) is None:
            self.close_connection = True
            return
        quoted, _, query = self.path.partition("?")
        values = urllib.parse.parse_qs(query, keep_blank_values=True)
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, quoted, values, headers, body)
        try:
            reply = self.server.answer(call)
        except Exception as failure:
            log.exception("%s %s failed", call.method, call.path)
            reply = as_json({"error": f"LocalHub failed: {failure!r}"}, status=500)
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: reply.cut])
        self.close_connection |= reply.cut is not None

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def _body(self) -> bytes | None:
        """The body of the request; None where the client went away before its end."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return self._chunks()
        size = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(size)
        return body if len(body) == size else None

    def _chunks(self) -> bytes | None:
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0] or b"0", 16):
            chunks.append(self.rfile.read(size))
            if self.rfile.readline() != b"\r\n":
                return None
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(chunks)
