"""HTTP/1.1 with kept connections, on a free port of this machine, that ends when it is told to."""

import contextlib
import logging
import socket
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from d3data.testing.wire import Call, Reply, as_json

HOST = "127.0.0.1"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sending:
    """What goes back: nothing, a reply, or a reply whose body is cut off after `cut` bytes."""

    reply: Reply | None
    cut: int | None = None


class Server(ThreadingHTTPServer):
    """Answers each request with `answer`, each connection in a thread of its own."""

    request_queue_size = 128

    def __init__(self, port: int, answer: Callable[[Call], Sending]) -> None:
        self.answer = answer
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__((HOST, port), Handler)
        self._loop = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._loop.start()

    def stop(self) -> None:
        """Close the port and all connections, and wait for their threads."""
        self.shutdown()
        self._loop.join()
        with self._lock:
            connections = dict(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):  # it may have ended by itself
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, which `stop` waits for."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that has ended."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""
        log.debug("connection with %s ended early", client_address, exc_info=True)


class Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, writes replies."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are noted elsewhere."""

    def answer(self) -> None:
        """Answer the request that was just read."""
        body = self._body()
        if body is None:
            self.close_connection = True
            return
        quoted, _, query = self.path.partition("?")
        call = Call(
            method=self.command,
            quoted=quoted,
            query=urllib.parse.parse_qs(query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )
        try:
            sending = self.server.answer(call)
        except Exception as failure:
            log.exception("%s %s failed", call.method, call.path)
            sending = Sending(as_json({"error": f"LocalHub failed: {failure!r}"}, status=500))
        self._send(sending)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def _send(self, sending: Sending) -> None:
        if sending.reply is None:
            self.close_connection = True
            return
        reply = sending.reply
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: sending.cut])
        if sending.cut is not None:
            self.close_connection = True

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
