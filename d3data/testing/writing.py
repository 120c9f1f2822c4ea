"""Handlers that write: repositories, references, files; users, and the check of cards."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from d3data.testing import rules
from d3data.testing.git import Change, Delete, Entry, Put
from d3data.testing.refusals import Exists, Invalid, NoEntry, NotSignedIn
from d3data.testing.repository import Repository
from d3data.testing.server import Reply, as_json
from d3data.testing.site import Context, kind_of, require_owner, require_visible, require_writer

LFS_JSON = {"Content-Type": "application/vnd.git-lfs+json"}


def whoami(context: Context) -> Reply:
    """GET /api/whoami-v2."""
    if (user := context.user) is None:
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


def validate_yaml(context: Context) -> Reply:
    """POST /api/validate-yaml: the errors in the metadata of a README."""
    try:
        found = rules.metadata(context.call.json()["content"])
    except Invalid as refusal:
        fields = {"error": str(refusal), "errors": [{"message": str(refusal)}], "warnings": []}
        return as_json(fields, status=400)
    empty = [] if found else [{"message": "empty or missing yaml metadata in repo card"}]
    return as_json({"errors": [], "warnings": empty})


def create(context: Context) -> Reply:
    """POST /api/repos/create."""
    body = context.call.json()
    user = require_writer(context.user)
    owner = body.get("organization") or user.name
    require_owner(user, owner)
    kind, name = kind_of(body.get("type")), f"{owner}/{body['name']}"
    try:
        made = context.site.store.create(kind, name, author=user.name, private=_is_private(body))
    except Exists as refusal:
        there = context.site.url(context.site.store.find(kind, name))
        return as_json({"error": str(refusal), "url": there}, status=refusal.status)
    return as_json({"url": context.site.url(made), "name": made.name, "id": made.name})


def delete(context: Context) -> Reply:
    """DELETE /api/repos/delete."""
    body = context.call.json()
    user = require_writer(context.user)
    name = f"{body.get('organization') or user.name}/{body['name']}"
    context.site.store.delete(_owned(context, body.get("type"), name))
    return as_json({})


def move(context: Context) -> Reply:
    """POST /api/repos/move."""
    body = context.call.json()
    repository = _owned(context, body.get("type"), body["fromRepo"])
    require_owner(context.user, body["toRepo"].partition("/")[0])
    context.site.store.move(repository, body["toRepo"])
    return as_json({})


def settings(context: Context) -> Reply:
    """PUT .../settings: whether a repository is private."""
    context.writer()
    body = context.call.json()
    if "visibility" in body or "private" in body:
        context.repository.private = _is_private(body)
    return as_json({"private": context.repository.private})


def tag(context: Context) -> Reply:
    """POST .../tag/{revision}."""
    context.writer()
    context.repository.tag(context.call.json()["tag"], context.names["revision"])
    return as_json({})


def delete_tag(context: Context) -> Reply:
    """DELETE .../tag/{revision}."""
    context.writer()
    context.repository.delete_tag(context.names["revision"])
    return as_json({})


def branch(context: Context) -> Reply:
    """POST .../branch/{revision}."""
    context.writer()
    start = context.call.json().get("startingPoint") or "main"
    context.repository.branch(context.names["revision"], start)
    return as_json({})


def delete_branch(context: Context) -> Reply:
    """DELETE .../branch/{revision}."""
    context.writer()
    context.repository.delete_branch(context.names["revision"])
    return as_json({})


def _is_private(body: Mapping[str, Any]) -> bool:
    return body.get("visibility") == "private" or bool(body.get("private"))


def _owned(context: Context, kind: object, name: str) -> Repository:
    found = context.site.store.find(kind_of(kind), name)
    require_visible(context.user, found)
    require_owner(context.user, found.name.partition("/")[0])
    return found


def preupload(context: Context) -> Reply:
    """POST .../preupload/{revision}: for each file whether it goes through LFS, or nowhere."""
    context.writer()
    body, files = context.call.json(), []
    attributes = _text(context, ".gitattributes")
    ignored = body.get("gitIgnore", _text(context, ".gitignore"))  # the one of this very commit
    for file in body["files"]:
        large = rules.is_large(
            file["path"],
            sample=base64.b64decode(file["sample"]),
            size=file["size"],
            attributes=attributes,
            large_above=context.site.large_above,
        )
        mode = "lfs" if large else "regular"
        leave = rules.is_ignored(file["path"], ignored)
        fields = {"path": file["path"], "uploadMode": mode, "shouldIgnore": leave}
        if there := context.commit.files.get(file["path"]):
            fields["oid"] = there.etag
        files.append(fields)
    return as_json({"files": files, "commitOid": context.commit.id})


def _text(context: Context, path: str) -> str:
    """A file of rules; nothing where there is none."""
    entry = context.commit.files.get(path)
    return context.repository.read(entry).decode(errors="replace") if entry else ""


def batch(context: Context) -> Reply:
    """POST {name}.git/info/lfs/objects/batch: where the objects are to be uploaded to."""
    repository, body = context.repository, context.call.json()
    require_writer(context.user)
    if body.get("operation") != "upload":
        raise Invalid("only uploads go this way; files are downloaded from .../resolve/...")
    transfers = body.get("transfers", ["basic"])
    objects = []
    for thing in body["objects"]:
        fields: dict[str, Any] = {"oid": thing["oid"], "size": thing["size"]}
        if thing["oid"] not in repository.large:
            fields["actions"] = _actions(
                context, Entry.in_lfs(thing["oid"], thing["size"]), transfers
            )
        objects.append(fields)
    parts = any(
        "header" in fields["actions"]["upload"] for fields in objects if "actions" in fields
    )
    transfer = "multipart" if parts else "basic"
    return as_json({"transfer": transfer, "objects": objects}, LFS_JSON)


def verify(context: Context) -> Reply:
    """POST {name}.git/info/lfs/verify: whether an object has come, whole."""
    body = context.call.json()
    require_writer(context.user)
    if body["oid"] not in context.repository.large:
        raise NoEntry(f"LFS object {body['oid']} was not uploaded")
    if (size := context.repository.kept(body["oid"]).size) != body["size"]:
        raise Invalid(f"LFS object {body['oid']} has {size} bytes, not {body['size']}")
    return as_json({})


def commit(context: Context) -> Reply:
    """POST .../commit/{revision}, lines of JSON: a header, then one operation each."""
    author = context.writer().name
    header, *operations = _lines(context.call.body)
    if header["key"] != "header":
        raise Invalid("the first line of a commit is its header")
    changes = list(_changes(context.repository, operations))
    about, revision, pull = header["value"], context.names["revision"], None
    fields = {"description": about.get("description") or "", "author": author}
    if context.call.flag("create_pr"):
        onto = about.get("parentCommit") or revision
        number, made = context.repository.propose(changes, about["summary"], onto=onto, **fields)
        pull = f"{context.site.url(context.repository)}/discussions/{number}"
    else:
        made = context.repository.commit(
            changes, about["summary"], branch=revision, parent=about.get("parentCommit"), **fields
        )
    return as_json(
        {
            "success": True,
            "commitOid": made.id,
            "commitUrl": f"{context.site.url(context.repository)}/commit/{made.id}",
            "hookOutput": "",
            "pullRequestUrl": pull,
        }
    )


def _actions(context: Context, entry: Entry, transfers: list[str]) -> dict[str, Any]:
    upload: dict[str, Any] = {"href": context.site.stored(context.repository, entry)}
    size = context.site.part_bytes
    if size is not None and entry.size > size and "multipart" in transfers:
        count = -(-entry.size // size)
        parts = {str(number): f"{upload['href']}/{number}" for number in range(1, count + 1)}
        upload["header"] = {"chunk_size": str(size), **parts}
    check = f"{context.site.url(context.repository)}.git/info/lfs/verify"
    return {"upload": upload, "verify": {"href": check}}


def _lines(body: bytes) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in body.splitlines() if line.strip()]
    except ValueError:
        raise Invalid("a commit is lines of JSON") from None


def _changes(repository: Repository, operations: Iterable[dict[str, Any]]) -> Iterable[Change]:
    for operation in operations:
        key, value = operation["key"], operation["value"]
        path = value["path"]
        if key == "file":
            content = _content(value)
            if path == "README.md":
                rules.metadata(content.decode(errors="replace"))
            yield Put(path, repository.keep(content))
        elif key == "lfsFile":
            yield Put(path, repository.kept(value["oid"]))
        elif key in ("deletedFile", "deletedFolder"):
            yield Delete(path, folder=key == "deletedFolder")
        else:
            raise Invalid(f"{key!r} is not an operation of a commit")


def _content(value: dict[str, Any]) -> bytes:
    text: str = value["content"]
    return base64.b64decode(text) if value.get("encoding") == "base64" else text.encode()


def upload(context: Context) -> Reply:
    """PUT an object whose sha256 is the address."""
    return _keep(context, context.call.body)


def upload_part(context: Context) -> Reply:
    """PUT one of the parts of an object, which are numbered from 1."""
    parts = context.site.parts.setdefault(_key(context), {})
    parts[int(context.names["part"])] = context.call.body
    return Reply(headers={"ETag": _etag(context.call.body)})


def complete(context: Context) -> Reply:
    """POST the list of parts, which make the object when joined."""
    parts, joined = context.site.parts.get(_key(context), {}), []
    for wanted in context.call.json()["parts"]:
        part = parts.get(wanted["partNumber"])
        if part is None or wanted["etag"] != _etag(part):
            raise Invalid(f"part {wanted['partNumber']} is not the one that was uploaded")
        joined.append(part)
    reply = _keep(context, b"".join(joined))
    context.site.parts.pop(_key(context), None)
    return reply


def _keep(context: Context, content: bytes) -> Reply:
    found = hashlib.sha256(content).hexdigest()
    if found != context.names["sha256"]:
        raise Invalid(f"what was uploaded as {context.names['sha256']} has sha256 {found}")
    context.stored_repository.keep(content, large=True)
    return Reply(headers={"ETag": f'"{found}"'})


def _key(context: Context) -> tuple[str, str]:
    return f"{context.names['kind']}/{context.names['name']}", context.names["sha256"]


def _etag(part: bytes) -> str:
    return f'"{hashlib.sha256(part).hexdigest()}"'
