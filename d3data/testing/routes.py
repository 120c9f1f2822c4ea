"""The URLs that are supported, and the reply to a request.

Source: the requests of huggingface_hub 1.33 and 2.4, and huggingface.co/docs/hub/api.
"""

import re
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from d3data.testing.refusals import NotSupported, Refusal
from d3data.testing.server import Call, Reply, as_json, refused
from d3data.testing.site import Context, Site

Where = Literal["hub", "storage"]
Handler = Callable[[Context], Any]  # a Reply, or what is sent as JSON
REPOSITORY = "/api/{kind}/{name}"
PAGE = "/(?:(?P<kind>datasets|spaces)/)?{name}"  # a model's page has no prefix
OBJECT = "/{kind}/{name}/{sha256}"
_PLACES = {
    "kind": "models|datasets|spaces",
    "name": "[^/]+/[^/]+",
    "revision": "[^/]+",
    "path": ".+",
    "sha256": "[0-9a-f]{64}",
    "part": "[0-9]+",
}


@dataclass(frozen=True)
class Route:
    """The URLs of a handler; `open` ones never need a token, nor do those of the storage."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    where: Where
    open: bool

    def names(self, call: Call) -> dict[str, str] | None:
        """The parts of the URL of a request; None if it does not match."""
        if self.method != ("GET" if call.method == "HEAD" else call.method):
            return None
        if (match := self.pattern.fullmatch(call.quoted)) is None:
            return None
        return {
            place: urllib.parse.unquote(text) for place, text in match.groupdict().items() if text
        }


class Routes(list[Route]):
    """A table of URLs, to which `@routes.on(method, address)` adds a handler.

    An address is a pattern, in which `{name}` and the like stand for what varies.
    """

    def on(
        self, method: str, address: str, *, where: Where = "hub", open: bool = False
    ) -> Callable[[Handler], Handler]:
        for place, form in _PLACES.items():
            address = address.replace(f"{{{place}}}", f"(?P<{place}>{form})")
        pattern = re.compile(address)

        def add(handler: Handler) -> Handler:
            self.append(Route(method, pattern, handler, where, open or where == "storage"))
            return handler

        return add


def serve(site: Site, routes: Iterable[Route], call: Call) -> Reply:
    """The reply to a request, which may be a refusal."""
    try:
        for route in routes:
            if (names := route.names(call)) is not None:
                user = None if route.open else site.identify(call.headers)
                reply = route.handler(Context(site, call, user, names))
                return reply if isinstance(reply, Reply) else as_json(reply)
        raise NotSupported(f"{call.method} {call.path} is not supported here")
    except Refusal as refusal:
        return refused(refusal)
