"""The URLs that are supported, each with its handler.

Source: the requests of huggingface_hub 1.33 and 2.4, and huggingface.co/docs/hub/api.
"""

import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from d3data.testing import reading, writing
from d3data.testing.refusals import NotSupported, Refusal
from d3data.testing.server import Call, Reply, refused
from d3data.testing.site import Context, Site

Answerer = Callable[[Context], Reply]
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
    """One URL: `{name}` and the like stand for what varies, `open` ones never need a token."""

    method: str
    address: str
    answer: Answerer
    open: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What matches this URL."""
        pattern = self.address
        for place, form in _PLACES.items():
            pattern = pattern.replace(f"{{{place}}}", f"(?P<{place}>{form})")
        return re.compile(pattern)

    def names(self, call: Call) -> dict[str, str] | None:
        """The parts of the URL of a request; None if it does not match."""
        if self.method != ("GET" if call.method == "HEAD" else call.method):
            return None
        if (found := self.pattern.fullmatch(call.quoted)) is None:
            return None
        return {
            place: urllib.parse.unquote(text) for place, text in found.groupdict().items() if text
        }


def no_xet(context: Context) -> Reply:
    """GET .../xet-write-token/main and the like, the first request of Xet."""
    raise NotSupported("Xet is not supported here: set HF_HUB_DISABLE_XET=1")


_REPOSITORY = "/api/{kind}/{name}"
_PAGE = "/(?:(?P<kind>datasets|spaces)/)?{name}"  # a model's page has no prefix
_OBJECT = "/{kind}/{name}/{sha256}"

HUB = (
    Route("GET", "/api/whoami-v2", writing.whoami),
    Route("POST", "/api/validate-yaml", writing.validate_yaml, open=True),
    Route("POST", "/api/repos/create", writing.create),
    Route("DELETE", "/api/repos/delete", writing.delete),
    Route("POST", "/api/repos/move", writing.move),
    Route("GET", "/api/{kind}", reading.listing),
    Route("GET", _REPOSITORY, reading.info),
    Route("GET", f"{_REPOSITORY}/revision/{{revision}}", reading.info),
    Route("GET", f"{_REPOSITORY}/refs", reading.refs),
    Route("GET", f"{_REPOSITORY}/commits/{{revision}}", reading.commits),
    Route("GET", f"{_REPOSITORY}/discussions", reading.discussions),
    Route("GET", f"{_REPOSITORY}/tree/{{revision}}(?:/{{path}})?", reading.tree),
    Route("POST", f"{_REPOSITORY}/paths-info/{{revision}}", reading.paths_info),
    Route("POST", f"{_REPOSITORY}/preupload/{{revision}}", writing.preupload),
    Route("POST", f"{_REPOSITORY}/commit/{{revision}}", writing.commit),
    Route("POST", f"{_REPOSITORY}/tag/{{revision}}", writing.tag),
    Route("DELETE", f"{_REPOSITORY}/tag/{{revision}}", writing.delete_tag),
    Route("POST", f"{_REPOSITORY}/branch/{{revision}}", writing.branch),
    Route("DELETE", f"{_REPOSITORY}/branch/{{revision}}", writing.delete_branch),
    Route("PUT", f"{_REPOSITORY}/settings", writing.settings),
    Route("GET", f"{_REPOSITORY}/xet-(?:read|write)-token/.*", no_xet),
    Route("POST", f"{_PAGE}\\.git/info/lfs/objects/batch", writing.batch),
    Route("POST", f"{_PAGE}\\.git/info/lfs/verify", writing.verify),
    Route("GET", f"{_PAGE}/resolve/{{revision}}/{{path}}", reading.resolve),
)
STORAGE = (
    Route("GET", f"{_OBJECT}/{{path}}", reading.download, open=True),
    Route("PUT", _OBJECT, writing.upload, open=True),
    Route("PUT", f"{_OBJECT}/{{part}}", writing.upload_part, open=True),
    Route("POST", _OBJECT, writing.complete, open=True),
)
ROUTES = {"hub": HUB, "storage": STORAGE}


def serve(site: Site, routes: tuple[Route, ...], call: Call) -> Reply:
    """The reply to a request, which may be a refusal."""
    try:
        for route in routes:
            if (names := route.names(call)) is not None:
                user = None if route.open else site.accounts.identify(call.headers)
                return route.answer(Context(site, call, user, names))
        raise NotSupported(f"{call.method} {call.path} is not supported here")
    except Refusal as refusal:
        return refused(refusal)
