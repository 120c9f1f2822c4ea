"""The Hugging Face Hub on this machine, for as long as a `with` block lasts."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, Self

from d3data.errors import D3DataError
from d3data.testing import client, reading, writing
from d3data.testing.faults import Answer, Cut, Delay, Fault, Faults, Flip, Request, Requests
from d3data.testing.git import Change, Delete, Put
from d3data.testing.repository import Kind, Repository
from d3data.testing.rules import ATTRIBUTES, is_large
from d3data.testing.server import HOST, Call, Reply, Server
from d3data.testing.site import Anonymous, Site, User, Where, serve

ME = User("me", "hf_test")
OTHER_HOST = "localhost"  # the same machine, but some clients tell origins by their host alone
Who = User | Literal["first", "nobody"]


class LocalHub:
    """A Hub in memory that the unmodified `huggingface_hub` and `datasets` talk to.

    >>> import urllib.request
    >>> with LocalHub() as hub:
    ...     _ = hub.create("me/flowers", {"README.md": b"# Flowers"})
    ...     url = f"{hub.endpoint}/datasets/me/flowers/resolve/main/README.md"
    ...     with urllib.request.urlopen(url) as reply:
    ...         (reply.read(), hub.requests.count("GET"))
    (b'# Flowers', 1)

    All requests are in `requests`; `faults` makes them fail.

    Args:
        users: who has tokens; clients here are logged in as the first.
        anonymous: what is permitted without a token: "read" what is public, as on the real Hub,
            "nothing", or "write" too, as the first user.
        redirect: send downloads of large files to a storage server of another origin, as the real
            Hub does; else answer with the file.
        large_above: bytes above which any file goes through LFS; suffixes and content decide
            below, as on the real Hub.
        part_bytes: bytes of a part of objects that are uploaded in several; None never splits.
        page: entries of a page of a listing.

    Raises:
        D3DataError: one of these is invalid.
    """

    faults: Faults
    requests: Requests

    def __init__(
        self,
        *,
        users: Sequence[User] = (ME,),
        anonymous: Anonymous = "read",
        redirect: bool = True,
        large_above: int = 10_000_000,
        part_bytes: int | None = None,
        page: int = 1000,
    ) -> None:
        self.requests, self.faults = Requests(), Faults()
        self._site = Site(users, anonymous, redirect, large_above, part_bytes, page)
        self._ports: dict[Where, int] = {"hub": 0, "storage": 0}
        self._servers: list[Server] = []
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Its address, http://127.0.0.1:PORT; it has one once it was started."""
        if not self._site.endpoint:
            raise D3DataError("this Hub has no address yet: start it, as `with LocalHub()` does")
        return self._site.endpoint

    def start(self) -> None:
        """Open the ports, which must be closed: free ones at first, then the same again."""
        if self._servers:
            raise D3DataError("this Hub is running already: `stop()` ends it")
        self._stopping.clear()
        for where in self._ports:
            self._servers.append(Server(self._ports[where], partial(self._answer, where)))
            self._ports[where] = self._servers[-1].server_port
        self._site.endpoint = f"http://{HOST}:{self._ports['hub']}"
        self._site.storage = f"http://{OTHER_HOST}:{self._ports['storage']}"

    def stop(self) -> None:
        """Close the ports, as when the Hub is down; what it holds stays for `start`."""
        self._stopping.set()
        while self._servers:
            self._servers.pop().stop()

    def repo(self, name: str, kind: Kind = "dataset") -> Repository:
        """A repository, to look into: `head`, `tags`, `files(revision)`, `history()`, ...

        Raises:
            NoRepository: there is none of that kind and name.
        """
        return self._site.store.find(kind, name)

    def create(
        self,
        name: str,
        files: Mapping[str, bytes] | None = None,
        *,
        kind: Kind = "dataset",
        private: bool = False,
    ) -> Repository:
        """A new repository without any HTTP, with a commit of `files` where they are given."""
        _require_bytes(files or {})
        made = self._site.store.create(kind, name, author=name.partition("/")[0], private=private)
        if files is not None:
            self.commit(name, files, kind=kind)
        return made

    def commit(
        self,
        name: str,
        files: Mapping[str, bytes | None],
        *,
        kind: Kind = "dataset",
        title: str = "files",
    ) -> str:
        """Commit to main without any HTTP, as somebody else might; None deletes. The commit's id.

        Suffix, content and size decide which files are large, as they do for uploads.
        """
        repository = self.repo(name, kind)
        _require_bytes(files)

        def change(path: str, content: bytes | None) -> Change:
            if content is None:
                return Delete(path)
            large = is_large(
                path,
                sample=content[:512],
                size=len(content),
                attributes=ATTRIBUTES,
                large_above=self._site.large_above,
            )
            return Put(path, repository.keep(content, large=large))

        return repository.commit([change(*pair) for pair in files.items()], title).id

    def environment(self, home: str | Path, *, user: Who = "first") -> dict[str, str]:
        """Variables that make a new process talk to this Hub alone.

        Args:
            home: the folder for its caches; made by whoever writes to it first.
            user: who to be logged in as: one of the users, "first" or "nobody".

        Raises:
            D3DataError: the user is none of these.
        """
        if user not in ("first", "nobody", *self._site.users):
            names = ", ".join(one.name for one in self._site.users)
            raise D3DataError(
                f"user={user!r} is unknown to this Hub: give the User of {names}, 'first' or "
                "'nobody'"
            )
        who = self._site.users[0] if user == "first" else user
        token = who.token if isinstance(who, User) else ""
        return client.environment(self.endpoint, Path(home), token)

    def using(self, home: str | Path, *, user: Who = "first") -> AbstractContextManager[None]:
        """Make `huggingface_hub` and `datasets` of this process talk to this Hub for a while."""
        return client.using(self.environment(home, user=user))

    def _answer(self, where: Where, call: Call) -> Reply | None:
        """The reply to a request, None for a dropped connection; logged with the fault it had."""
        reply, fault = self._exchange(where, call)
        user = self._site.token_owner(call.headers)
        self.requests.add(
            Request(
                method=call.method,
                path=call.path,
                query=call.query,
                headers=call.headers,
                size=len(call.body),
                user=user.name if user else None,
                where=where,
                status=reply.status if reply else None,
                fault=fault,
            )
        )
        return reply

    def _exchange(self, where: Where, call: Call) -> tuple[Reply | None, Fault | None]:
        early = self.faults.find(call)
        if isinstance(early, Delay):
            self._stopping.wait(early.seconds)
        elif early is not None:
            return _instead(early), early
        routes = [route for route in (*reading.ROUTES, *writing.ROUTES) if route.where == where]
        reply = serve(self._site, routes, call)
        late = self.faults.find(call, reply)
        if isinstance(late, Flip):
            return replace(reply, body=late.flipped(reply.body)), late
        if isinstance(late, Cut):
            return replace(reply, cut=late.after), late
        return (reply, early) if late is None else (_instead(late), late)


def _require_bytes(files: Mapping[str, object]) -> None:
    for path, content in files.items():
        if not isinstance(content, bytes | None):
            raise D3DataError(f"{path}: the content of a file must be bytes, got {content!r:.40}")


def _instead(fault: Fault) -> Reply | None:
    return fault.reply() if isinstance(fault, Answer) else None
