"""How files come in: what goes where, large ones to the storage, then the commit."""

import base64
import json
from collections.abc import Iterable
from typing import Any

from d3data.testing import frontmatter
from d3data.testing.accounts import require_writer
from d3data.testing.attributes import is_ignored, is_large
from d3data.testing.commits import Change, Delete, Put
from d3data.testing.objects import Entry
from d3data.testing.refusals import Invalid, NoEntry
from d3data.testing.repository import Repository
from d3data.testing.site import Visit
from d3data.testing.wire import Reply, as_json

LFS_JSON = {"Content-Type": "application/vnd.git-lfs+json"}


def preupload(visit: Visit) -> Reply:
    """POST .../preupload/{revision}: for each file whether it goes through LFS, or nowhere."""
    visit.writer()
    asked, files = visit.call.json(), []
    rules = _text(visit, ".gitattributes")
    ignored = asked.get("gitIgnore", _text(visit, ".gitignore"))  # the one of this very commit
    for file in asked["files"]:
        large = is_large(
            file["path"],
            sample=base64.b64decode(file["sample"]),
            size=file["size"],
            attributes=rules,
            large_above=visit.site.settings.large_above,
        )
        mode = "lfs" if large else "regular"
        leave = is_ignored(file["path"], ignored)
        told = {"path": file["path"], "uploadMode": mode, "shouldIgnore": leave}
        if there := visit.commit.files.get(file["path"]):
            told["oid"] = there.etag
        files.append(told)
    return as_json({"files": files, "commitOid": visit.commit.id})


def _text(visit: Visit, path: str) -> str:
    """A file of rules; nothing where there is none."""
    entry = visit.commit.files.get(path)
    return visit.repository.read(entry).decode(errors="replace") if entry else ""


def batch(visit: Visit) -> Reply:
    """POST {name}.git/info/lfs/objects/batch: where the objects are to be uploaded to."""
    repository, asked = visit.repository, visit.call.json()
    require_writer(visit.user)
    if asked.get("operation") != "upload":
        raise Invalid("only uploads go this way; files are downloaded from .../resolve/...")
    transfers = asked.get("transfers", ["basic"])
    objects = []
    for thing in asked["objects"]:
        told: dict[str, Any] = {"oid": thing["oid"], "size": thing["size"]}
        if thing["oid"] not in repository.large:
            told["actions"] = _actions(visit, Entry.in_lfs(thing["oid"], thing["size"]), transfers)
        objects.append(told)
    parts = any("header" in told["actions"]["upload"] for told in objects if "actions" in told)
    transfer = "multipart" if parts else "basic"
    return as_json({"transfer": transfer, "objects": objects}, LFS_JSON)


def verify(visit: Visit) -> Reply:
    """POST {name}.git/info/lfs/verify: whether an object has come, whole."""
    asked = visit.call.json()
    require_writer(visit.user)
    if asked["oid"] not in visit.repository.large:
        raise NoEntry(f"LFS object {asked['oid']} was not uploaded")
    if (size := visit.repository.kept(asked["oid"]).size) != asked["size"]:
        raise Invalid(f"LFS object {asked['oid']} has {size} bytes, not {asked['size']}")
    return as_json({})


def commit(visit: Visit) -> Reply:
    """POST .../commit/{revision}, lines of JSON: a header, then one operation each."""
    author = visit.writer().name
    header, *operations = _lines(visit.call.body)
    if header["key"] != "header":
        raise Invalid("the first line of a commit is its header")
    changes = list(_changes(visit.repository, operations))
    about, revision, pull = header["value"], visit.names["revision"], None
    told = {"description": about.get("description") or "", "author": author}
    if visit.call.flag("create_pr"):
        onto = about.get("parentCommit") or revision
        number, made = visit.repository.propose(changes, about["summary"], onto=onto, **told)
        pull = f"{visit.site.url(visit.repository)}/discussions/{number}"
    else:
        made = visit.repository.commit(
            changes, about["summary"], branch=revision, parent=about.get("parentCommit"), **told
        )
    return as_json(
        {
            "success": True,
            "commitOid": made.id,
            "commitUrl": f"{visit.site.url(visit.repository)}/commit/{made.id}",
            "hookOutput": "",
            "pullRequestUrl": pull,
        }
    )


def _actions(visit: Visit, entry: Entry, transfers: list[str]) -> dict[str, Any]:
    upload: dict[str, Any] = {"href": visit.site.stored(visit.repository, entry)}
    size = visit.site.settings.part_bytes
    if size is not None and entry.size > size and "multipart" in transfers:
        count = -(-entry.size // size)
        parts = {str(number): f"{upload['href']}/{number}" for number in range(1, count + 1)}
        upload["header"] = {"chunk_size": str(size), **parts}
    check = f"{visit.site.url(visit.repository)}.git/info/lfs/verify"
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
                frontmatter.metadata(content.decode(errors="replace"))
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
