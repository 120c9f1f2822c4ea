"""The storage of large files, another server than the Hub: no names of people, only contents.

The Hub sends clients here with addresses that cannot be guessed, so nobody shows a token.
"""

import hashlib

from d3data.testing.refusals import Invalid, NoEntry
from d3data.testing.site import Visit
from d3data.testing.wire import Reply, ranged


def download(visit: Visit) -> Reply:
    """GET or HEAD an object, or a range of it."""
    sha256 = visit.names["sha256"]
    if sha256 not in visit.place.large:
        raise NoEntry
    entry = visit.place.kept(sha256)
    return ranged(visit.call, visit.place.read(entry), {"ETag": f'"{sha256}"'})


def upload(visit: Visit) -> Reply:
    """PUT an object whose sha256 is the address."""
    return _keep(visit, visit.call.body)


def upload_part(visit: Visit) -> Reply:
    """PUT one of the parts of an object, which are numbered from 1."""
    parts = visit.site.parts.setdefault(_key(visit), {})
    parts[int(visit.names["part"])] = visit.call.body
    return Reply(headers={"ETag": _etag(visit.call.body)})


def complete(visit: Visit) -> Reply:
    """POST the list of parts, which make the object when joined."""
    parts, joined = visit.site.parts.get(_key(visit), {}), []
    for asked in visit.call.json()["parts"]:
        part = parts.get(asked["partNumber"])
        if part is None or asked["etag"] != _etag(part):
            raise Invalid(f"part {asked['partNumber']} is not the one that was uploaded")
        joined.append(part)
    reply = _keep(visit, b"".join(joined))
    visit.site.parts.pop(_key(visit), None)
    return reply


def _keep(visit: Visit, content: bytes) -> Reply:
    found = hashlib.sha256(content).hexdigest()
    if found != visit.names["sha256"]:
        raise Invalid(f"what was uploaded as {visit.names['sha256']} has sha256 {found}")
    visit.place.keep(content, large=True)
    return Reply(headers={"ETag": f'"{found}"'})


def _key(visit: Visit) -> tuple[str, str]:
    return f"{visit.names['kind']}/{visit.names['name']}", visit.names["sha256"]


def _etag(part: bytes) -> str:
    return f'"{hashlib.sha256(part).hexdigest()}"'
