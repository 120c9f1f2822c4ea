"""Single requests to a Hub, by the HTTP client of the standard library."""

import http.client
import json
from urllib.parse import urlsplit


def ask(hub, method: str, where: str, body=None, *, token: str = "hf_test", **headers: str):
    """Status, JSON (or else bytes) and headers of a reply; what is not bytes is sent as JSON."""
    url = urlsplit(where)
    connection = http.client.HTTPConnection(url.netloc or urlsplit(hub.endpoint).netloc)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    if token and not url.netloc:
        headers["Authorization"] = f"Bearer {token}"
    target = f"{url.path}?{url.query}" if url.query else url.path
    connection.request(method, target, body=content, headers=headers)
    reply = connection.getresponse()
    found = reply.read()
    connection.close()
    if "json" in reply.headers.get("Content-Type", ""):
        found = json.loads(found)
    return reply.status, found, reply.headers
