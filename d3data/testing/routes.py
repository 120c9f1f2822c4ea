"""The addresses that are spoken here, each with what answers it.

Source: the requests of huggingface_hub 1.33 and 2.4, and huggingface.co/docs/hub/api.
"""

import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from d3data.testing import administration, contents, listing, storage, writing
from d3data.testing.refusals import NotSpoken, Refusal
from d3data.testing.site import Site, Visit
from d3data.testing.wire import Call, Reply, refused

Answerer = Callable[[Visit], Reply]
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
    """One address: `{name}` and the like stand for what varies, `open` ones need no token ever."""

    method: str
    address: str
    answer: Answerer
    open: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The addresses that are this one."""
        pattern = self.address
        for place, form in _PLACES.items():
            pattern = pattern.replace(f"{{{place}}}", f"(?P<{place}>{form})")
        return re.compile(pattern)

    def names(self, call: Call) -> dict[str, str] | None:
        """What the address of a request names; None where it is another's."""
        if self.method != ("GET" if call.method == "HEAD" else call.method):
            return None
        if (found := self.pattern.fullmatch(call.quoted)) is None:
            return None
        return {
            place: urllib.parse.unquote(text) for place, text in found.groupdict().items() if text
        }


def no_xet(visit: Visit) -> Reply:
    """GET .../xet-write-token/main and the like, which a client of Xet begins with."""
    raise NotSpoken("Xet is not spoken here: set HF_HUB_DISABLE_XET=1")


_REPOSITORY = "/api/{kind}/{name}"
_PAGE = "/(?:(?P<kind>datasets|spaces)/)?{name}"  # a model's page has no prefix
_OBJECT = "/{kind}/{name}/{sha256}"

HUB = (
    Route("GET", "/api/whoami-v2", administration.whoami),
    Route("POST", "/api/validate-yaml", administration.validate_yaml, open=True),
    Route("POST", "/api/repos/create", administration.create),
    Route("DELETE", "/api/repos/delete", administration.delete),
    Route("POST", "/api/repos/move", administration.move),
    Route("GET", "/api/{kind}", listing.listing),
    Route("GET", _REPOSITORY, listing.info),
    Route("GET", f"{_REPOSITORY}/revision/{{revision}}", listing.info),
    Route("GET", f"{_REPOSITORY}/refs", listing.refs),
    Route("GET", f"{_REPOSITORY}/commits/{{revision}}", listing.commits),
    Route("GET", f"{_REPOSITORY}/discussions", listing.discussions),
    Route("GET", f"{_REPOSITORY}/tree/{{revision}}(?:/{{path}})?", contents.tree),
    Route("POST", f"{_REPOSITORY}/paths-info/{{revision}}", contents.paths_info),
    Route("POST", f"{_REPOSITORY}/preupload/{{revision}}", writing.preupload),
    Route("POST", f"{_REPOSITORY}/commit/{{revision}}", writing.commit),
    Route("POST", f"{_REPOSITORY}/tag/{{revision}}", administration.tag),
    Route("DELETE", f"{_REPOSITORY}/tag/{{revision}}", administration.delete_tag),
    Route("POST", f"{_REPOSITORY}/branch/{{revision}}", administration.branch),
    Route("DELETE", f"{_REPOSITORY}/branch/{{revision}}", administration.delete_branch),
    Route("PUT", f"{_REPOSITORY}/settings", administration.settings),
    Route("GET", f"{_REPOSITORY}/xet-(?:read|write)-token/.*", no_xet),
    Route("POST", f"{_PAGE}\\.git/info/lfs/objects/batch", writing.batch),
    Route("POST", f"{_PAGE}\\.git/info/lfs/verify", writing.verify),
    Route("GET", f"{_PAGE}/resolve/{{revision}}/{{path}}", contents.resolve),
)
STORAGE = (
    Route("GET", f"{_OBJECT}/{{path}}", storage.download, open=True),
    Route("PUT", _OBJECT, storage.upload, open=True),
    Route("PUT", f"{_OBJECT}/{{part}}", storage.upload_part, open=True),
    Route("POST", _OBJECT, storage.complete, open=True),
)
ROUTES = {"hub": HUB, "storage": STORAGE}


def serve(site: Site, routes: tuple[Route, ...], call: Call) -> Reply:
    """The answer to a request, be it a refusal."""
    try:
        for route in routes:
            if (names := route.names(call)) is not None:
                user = None if route.open else site.accounts.identify(call.headers)
                return route.answer(Visit(site, call, user, names))
        raise NotSpoken(f"{call.method} {call.path} is not spoken here")
    except Refusal as refusal:
        return refused(refusal)
