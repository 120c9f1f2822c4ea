"""Handlers that write: repositories, references, files; users, and the check of cards."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from d3data.testing import rules
from d3data.testing.git import Change, Delete, Entry, Put
from d3data.testing.refusals import Exists, Invalid, NoEntry, NotSignedIn, NotSupported
from d3data.testing.repository import Repository
from d3data.testing.server import Reply, as_json
from d3data.testing.site import OBJECT, PAGE, REPOSITORY, Context, Routes, kind_of

LFS_JSON = {"Content-Type": "application/vnd.git-lfs+json"}
Fields = dict[str, Any]
ROUTES = Routes()


@ROUTES.on("GET", "/api/whoami-v2")
def _whoami(context: Context) -> Fields:
    if (user := context.user) is None:
        raise NotSignedIn
    about = {"displayName": user.name, "role": user.role}
    return {
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


@ROUTES.on("POST", "/api/validate-yaml", open=True)
def _validate_yaml(context: Context) -> Reply | Fields:
    try:
        card = rules.metadata(context.call.json()["content"])
    except Invalid as refusal:
        fields = {"error": str(refusal), "errors": [{"message": str(refusal)}], "warnings": []}
        return as_json(fields, status=400)
    empty = [] if card else [{"message": "empty or missing yaml metadata in repo card"}]
    return {"errors": [], "warnings": empty}


@ROUTES.on("POST", "/api/repos/create")
def _create(context: Context) -> Reply | Fields:
    body, store = context.call.json(), context.site.store
    user = context.require_writer()
    owner = body.get("organization") or user.name
    context.require_writer(owner)
    kind, name = kind_of(body.get("type")), f"{owner}/{body['name']}"
    try:
        made = store.create(kind, name, author=user.name, private=_is_private(body))
    except Exists as refusal:
        url = context.site.url(store.find(kind, name))
        return as_json({"error": str(refusal), "url": url}, status=refusal.status)
    return {"url": context.site.url(made), "name": made.name, "id": made.name}


@ROUTES.on("DELETE", "/api/repos/delete")
def _delete(context: Context) -> Fields:
    body = context.call.json()
    owner = body.get("organization") or context.require_writer().name
    context.site.store.delete(_owned(context, body.get("type"), f"{owner}/{body['name']}"))
    return {}


@ROUTES.on("POST", "/api/repos/move")
def _move(context: Context) -> Fields:
    body = context.call.json()
    repository = _owned(context, body.get("type"), body["fromRepo"])
    context.require_writer(body["toRepo"].partition("/")[0])
    context.site.store.move(repository, body["toRepo"])
    return {}


def _owned(context: Context, kind: object, name: str) -> Repository:
    context.require_writer()
    repository = context.find(kind_of(kind), name)
    context.require_writer(repository.owner)
    return repository


@ROUTES.on("PUT", f"{REPOSITORY}/settings")
def _settings(context: Context) -> Fields:
    context.require_editor()
    body = context.call.json()
    if "visibility" in body or "private" in body:
        context.repository.private = _is_private(body)
    return {"private": context.repository.private}


def _is_private(body: Fields) -> bool:
    return body.get("visibility") == "private" or bool(body.get("private"))


@ROUTES.on("POST", f"{REPOSITORY}/(?P<what>tag|branch)/{{revision}}")
def _create_ref(context: Context) -> Fields:
    context.require_editor()
    repository, body, revision = context.repository, context.call.json(), context.names["revision"]
    if context.names["what"] == "tag":
        repository.tag(body["tag"], revision)
    else:
        repository.branch(revision, body.get("startingPoint") or "main")
    return {}


@ROUTES.on("DELETE", f"{REPOSITORY}/(?P<what>tag|branch)/{{revision}}")
def _delete_ref(context: Context) -> Fields:
    context.require_editor()
    repository, is_tag = context.repository, context.names["what"] == "tag"
    (repository.delete_tag if is_tag else repository.delete_branch)(context.names["revision"])
    return {}


@ROUTES.on("POST", f"{REPOSITORY}/preupload/{{revision}}")
def _preupload(context: Context) -> Fields:
    """For each file whether it goes through LFS, or nowhere."""
    context.require_editor()
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
        fields = {"path": file["path"], "uploadMode": "lfs" if large else "regular"}
        fields["shouldIgnore"] = rules.is_ignored(file["path"], ignored)
        if entry := context.commit.files.get(file["path"]):
            fields["oid"] = entry.etag
        files.append(fields)
    return {"files": files, "commitOid": context.commit.id}


def _text(context: Context, path: str) -> str:
    """A file of rules; nothing where there is none."""
    entry = context.commit.files.get(path)
    return context.repository.read(entry).decode(errors="replace") if entry else ""


@ROUTES.on("POST", f"{REPOSITORY}/commit/{{revision}}")
def _commit(context: Context) -> Fields:
    """The body has lines of JSON: a header, then one operation each."""
    repository, revision = context.repository, context.names["revision"]
    author = context.require_editor().name
    try:
        header, *operations = map(json.loads, filter(bytes.strip, context.call.body.splitlines()))
    except ValueError:
        raise Invalid("a commit is lines of JSON") from None
    if header["key"] != "header":
        raise Invalid("the first line of a commit is its header")
    changes, about, pull = list(_changes(repository, operations)), header["value"], None
    title, parent = about["summary"], about.get("parentCommit")
    fields = {"description": about.get("description") or "", "author": author}
    url = context.site.url(repository)
    if context.call.flag("create_pr"):
        number, made = repository.propose(changes, title, onto=parent or revision, **fields)
        pull = f"{url}/discussions/{number}"
    else:
        made = repository.commit(changes, title, branch=revision, parent=parent, **fields)
    return {
        "success": True,
        "commitOid": made.id,
        "commitUrl": f"{url}/commit/{made.id}",
        "hookOutput": "",
        "pullRequestUrl": pull,
    }


def _changes(repository: Repository, operations: Iterable[Fields]) -> Iterator[Change]:
    for operation in operations:
        key, value = operation["key"], operation["value"]
        path = value["path"]
        if key == "file":
            content = value["content"].encode()
            if value.get("encoding") == "base64":
                content = base64.b64decode(content)
            if path == "README.md":
                rules.metadata(content.decode(errors="replace"))
            yield Put(path, repository.keep(content))
        elif key == "lfsFile":
            yield Put(path, repository.kept(value["oid"]))
        elif key in ("deletedFile", "deletedFolder"):
            yield Delete(path, folder=key == "deletedFolder")
        else:
            raise Invalid(f"{key!r} is not an operation of a commit")


@ROUTES.on("GET", f"{REPOSITORY}/xet-(?:read|write)-token/.*")
def _no_xet(context: Context) -> Fields:
    raise NotSupported("Xet is not supported here: set HF_HUB_DISABLE_XET=1")


@ROUTES.on("POST", f"{PAGE}\\.git/info/lfs/objects/batch")
def _batch(context: Context) -> Reply:
    """Where the objects are to be uploaded to."""
    repository, body = context.repository, context.call.json()
    context.require_writer()
    if body.get("operation") != "upload":
        raise Invalid("only uploads go this way; files are downloaded from .../resolve/...")
    part, transfer, objects = context.site.part_bytes, "basic", []
    for item in body["objects"]:
        fields = {"oid": item["oid"], "size": item["size"]}
        if item["oid"] not in repository.large:
            url = context.site.stored(repository, Entry.in_lfs(item["oid"], item["size"]))
            upload: Fields = {"href": url}
            if part and item["size"] > part and "multipart" in body.get("transfers", []):
                transfer = "multipart"
                numbers = range(1, -(-item["size"] // part) + 1)
                upload["header"] = {"chunk_size": str(part)}
                upload["header"] |= {str(number): f"{url}/{number}" for number in numbers}
            check = f"{context.site.url(repository)}.git/info/lfs/verify"
            fields["actions"] = {"upload": upload, "verify": {"href": check}}
        objects.append(fields)
    return as_json({"transfer": transfer, "objects": objects}, LFS_JSON)


@ROUTES.on("POST", f"{PAGE}\\.git/info/lfs/verify")
def _verify(context: Context) -> Fields:
    """Whether an object has come, whole."""
    repository, body = context.repository, context.call.json()
    context.require_writer()
    if body["oid"] not in repository.large:
        raise NoEntry(f"LFS object {body['oid']} was not uploaded")
    if (size := repository.kept(body["oid"]).size) != body["size"]:
        raise Invalid(f"LFS object {body['oid']} has {size} bytes, not {body['size']}")
    return {}


@ROUTES.on("PUT", OBJECT, where="storage")
def _upload(context: Context) -> Reply:
    return _keep(context, context.call.body)


@ROUTES.on("PUT", f"{OBJECT}/{{part}}", where="storage")
def _upload_part(context: Context) -> Reply:
    """One of the parts of an object, which are numbered from 1."""
    parts = context.site.parts.setdefault(context.call.path.rpartition("/")[0], {})
    parts[int(context.names["part"])] = context.call.body
    return Reply(headers={"ETag": _etag(context.call.body)})


@ROUTES.on("POST", OBJECT, where="storage")
def _complete(context: Context) -> Reply:
    """The list of parts, which make the object when joined."""
    parts, joined = context.site.parts.get(context.call.path, {}), []
    for item in context.call.json()["parts"]:
        part = parts.get(item["partNumber"])
        if part is None or item["etag"] != _etag(part):
            raise Invalid(f"part {item['partNumber']} is not the one that was uploaded")
        joined.append(part)
    reply = _keep(context, b"".join(joined))
    context.site.parts.pop(context.call.path, None)
    return reply


def _keep(context: Context, content: bytes) -> Reply:
    etag = _etag(content)
    if etag != f'"{context.names["sha256"]}"':
        raise Invalid(f"what was uploaded as {context.names['sha256']} has sha256 {etag}")
    context.stored_repository.keep(content, large=True)
    return Reply(headers={"ETag": etag})


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()}"'
