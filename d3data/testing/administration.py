"""Users, cards, repositories and their names."""

from d3data.testing import frontmatter
from d3data.testing.accounts import require_owner, require_sight, require_writer
from d3data.testing.refusals import Exists, Invalid, NotSignedIn
from d3data.testing.repository import Repository
from d3data.testing.site import Visit, kind_of
from d3data.testing.wire import Reply, as_json


def whoami(visit: Visit) -> Reply:
    """GET /api/whoami-v2."""
    if (user := visit.user) is None:
        raise NotSignedIn("Invalid username or password.")
    about = {"displayName": user.name, "role": user.role}
    return as_json(
        {
            "type": "user",
            "id": user.name,
            "name": user.name,
            "fullname": user.name,
            "orgs": [
                {"type": "org", "id": name, "name": name, "roleInOrg": user.role}
                for name in user.organizations
            ],
            "auth": {"type": "access_token", "accessToken": about},
        }
    )


def validate_yaml(visit: Visit) -> Reply:
    """POST /api/validate-yaml: what is wrong with the head of a README."""
    try:
        found = frontmatter.metadata(visit.call.json()["content"])
    except Invalid as refusal:
        told = {"error": str(refusal), "errors": [{"message": str(refusal)}], "warnings": []}
        return as_json(told, status=400)
    empty = [] if found else [{"message": "empty or missing yaml metadata in repo card"}]
    return as_json({"errors": [], "warnings": empty})


def create(visit: Visit) -> Reply:
    """POST /api/repos/create."""
    asked = visit.call.json()
    user = require_writer(visit.user)
    owner = asked.get("organization") or user.name
    require_owner(user, owner)
    kind, name = kind_of(asked.get("type")), f"{owner}/{asked['name']}"
    private = asked.get("visibility") == "private" or bool(asked.get("private"))
    try:
        made = visit.site.store.create(kind, name, author=user.name, private=private)
    except Exists as refusal:
        there = visit.site.url(visit.site.store.find(kind, name))
        return as_json({"error": str(refusal), "url": there}, status=refusal.status)
    return as_json({"url": visit.site.url(made), "name": made.name, "id": made.name})


def delete(visit: Visit) -> Reply:
    """DELETE /api/repos/delete."""
    asked = visit.call.json()
    user = require_writer(visit.user)
    name = f"{asked.get('organization') or user.name}/{asked['name']}"
    visit.site.store.delete(_owned(visit, asked.get("type"), name))
    return as_json({})


def move(visit: Visit) -> Reply:
    """POST /api/repos/move."""
    asked = visit.call.json()
    repository = _owned(visit, asked.get("type"), asked["fromRepo"])
    require_owner(visit.user, asked["toRepo"].partition("/")[0])
    visit.site.store.move(repository, asked["toRepo"])
    return as_json({})


def settings(visit: Visit) -> Reply:
    """PUT .../settings: whether a repository is private."""
    visit.writer()
    asked = visit.call.json()
    if "visibility" in asked or "private" in asked:
        visit.repository.private = asked.get("visibility") == "private" or bool(
            asked.get("private")
        )
    return as_json({"private": visit.repository.private})


def tag(visit: Visit) -> Reply:
    """POST .../tag/{revision}."""
    visit.writer()
    visit.repository.tag(visit.call.json()["tag"], visit.names["revision"])
    return as_json({})


def delete_tag(visit: Visit) -> Reply:
    """DELETE .../tag/{revision}."""
    visit.writer()
    visit.repository.delete_tag(visit.names["revision"])
    return as_json({})


def branch(visit: Visit) -> Reply:
    """POST .../branch/{revision}."""
    visit.writer()
    start = visit.call.json().get("startingPoint") or "main"
    visit.repository.branch(visit.names["revision"], start)
    return as_json({})


def delete_branch(visit: Visit) -> Reply:
    """DELETE .../branch/{revision}."""
    visit.writer()
    visit.repository.delete_branch(visit.names["revision"])
    return as_json({})


def _owned(visit: Visit, kind: object, name: str) -> Repository:
    found = visit.site.store.find(kind_of(kind), name)
    require_sight(visit.user, found)
    require_owner(visit.user, found.name.partition("/")[0])
    return found
