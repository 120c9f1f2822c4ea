"""Handlers that read: repositories, their commits and references, trees, files."""

import contextlib
import html
import urllib.parse
from datetime import datetime
from typing import Any

from d3data.testing import rules
from d3data.testing.git import Commit, Entry, git_name, pointer
from d3data.testing.refusals import Invalid, NoEntry
from d3data.testing.repository import Repository
from d3data.testing.server import Reply, as_json, ranged, refused
from d3data.testing.site import KINDS, OBJECT, PAGE, REPOSITORY, Context, Routes

EXPANDED_PAGE = 50  # entries of a page with the last commit of each
Fields = dict[str, Any]
ROUTES = Routes()


@ROUTES.on("GET", f"{REPOSITORY}(?:/revision/{{revision}})?")
def _info(context: Context) -> Reply:
    about = _about(context.repository, context.commit, blobs=context.call.flag("blobs"))
    return as_json(_expanded(context, about), {"X-Repo-Commit": context.commit.id})


@ROUTES.on("GET", "/api/{kind}")
def _listing(context: Context) -> Reply:
    call = context.call
    full = call.flag("full") or "expand" in call.query
    listed = []
    for repository in context.site.store.all(KINDS[context.names["kind"]]):
        about = _about(repository, repository.resolve("main"), blobs=False)
        if context.can_see(repository) and _is_wanted(context, about):
            fields = _expanded(context, about)
            listed.append({key: fields[key] for key in fields if full or key != "siblings"})
    return context.page(listed, int(call.one("limit", "0")))


@ROUTES.on("GET", f"{REPOSITORY}/refs")
def _refs(context: Context) -> Fields:
    def listed(prefix: str, refs: dict[str, str]) -> list[Fields]:
        return [
            {
                "name": name.removeprefix("refs/"),
                "ref": f"{prefix}{name}",
                "targetCommit": commit,
            }
            for name, commit in refs.items()
        ]

    repository = context.repository
    fields = {
        "branches": listed("refs/heads/", repository.branches),
        "tags": listed("refs/tags/", repository.tags),
        "converts": [],
    }
    pulls = {"pullRequests": listed("", repository.pulls)}
    return fields | (pulls if context.call.flag("include_prs") else {})


@ROUTES.on("GET", f"{REPOSITORY}/commits/{{revision}}")
def _commits(context: Context) -> Reply:
    listed = []
    for commit in context.repository.history(context.names["revision"]):
        text = {"title": commit.title, "message": commit.description}
        fields: Fields = {
            "id": commit.id,
            "date": iso_date(commit.date),
            "authors": [{"user": commit.author}],
            **text,
        }
        if "formatted" in context.call.query.get("expand[]", []):
            fields["formatted"] = {key: html.escape(value) for key, value in text.items()}
        listed.append(fields)
    return context.page(listed)


@ROUTES.on("GET", f"{REPOSITORY}/discussions")
def _discussions(context: Context) -> Fields:
    """The pull requests alone, the newest first; pages are numbered."""
    call, size = context.call, context.site.page
    status, author = call.one("status", "all"), call.one("author")
    listed = [
        talk
        for talk in (
            _discussion(context.repository, p) for p in reversed(context.repository.pulls)
        )
        if call.one("type") != "discussion"
        and status in ("all", talk["status"])
        and author in ("", talk["author"]["name"])
    ]
    start = int(call.one("p", "0")) * size
    return {"discussions": listed[start : start + size], "count": len(listed), "start": start}


@ROUTES.on("GET", f"{REPOSITORY}/tree/{{revision}}(?:/{{path}})?")
def _tree(context: Context) -> Reply:
    folder, commit = context.names.get("path") or "", context.commit
    expand, recursive = context.call.flag("expand"), context.call.flag("recursive")
    if folder not in commit.folders:
        raise NoEntry(f"{folder} does not exist on {context.names['revision']}")
    start = f"{folder}/" if folder else ""
    entries = [
        _entry(context, path, expand=expand)
        for path in sorted([*commit.folders, *commit.files])
        if path.startswith(start) and path != folder
        if recursive or "/" not in path.removeprefix(start)
    ]
    return context.page(entries, EXPANDED_PAGE if expand else None)


@ROUTES.on("POST", f"{REPOSITORY}/paths-info/{{revision}}")
def _paths_info(context: Context) -> list[Fields]:
    """A form or JSON asks; unknown paths are left out."""
    call = context.call
    if "json" in call.headers.get("content-type", ""):
        body = call.json()
        paths, expand = body.get("paths", []), bool(body.get("expand"))
    else:
        form = urllib.parse.parse_qs(call.body.decode(), keep_blank_values=True)
        paths, expand = form.get("paths", []), form.get("expand", [""])[-1].lower() == "true"
    known = [path for path in paths if context.commit.name(path)]
    return [_entry(context, path, expand=expand) for path in known]


@ROUTES.on("GET", f"{PAGE}/resolve/{{revision}}/{{path}}")
def _resolve(context: Context) -> Reply:
    """A file, or a redirect to a large one."""
    repository, commit, path = context.repository, context.commit, context.names["path"]
    fields = {"X-Repo-Commit": commit.id}
    entry = commit.files.get(path)
    if entry is None:
        return refused(NoEntry(), fields)
    if not (entry.large and context.site.redirect):
        return ranged(context.call, repository.read(entry), {**fields, "ETag": f'"{entry.etag}"'})
    name = urllib.parse.quote(path.rpartition("/")[2], safe="")
    where = {
        "Location": f"{context.site.stored(repository, entry)}/{name}",
        "ETag": f'"{entry.oid}"',
        "X-Linked-ETag": f'"{entry.etag}"',
        "X-Linked-Size": str(entry.size),
        "Accept-Ranges": "bytes",
    }
    return Reply(302, b"", {**fields, **where})


@ROUTES.on("GET", f"{OBJECT}/{{path}}", where="storage")
def _download(context: Context) -> Reply:
    repository, sha256 = context.stored_repository, context.names["sha256"]
    if sha256 not in repository.large:
        raise NoEntry
    content = repository.read(repository.kept(sha256))
    return ranged(context.call, content, {"ETag": f'"{sha256}"'})


def iso_date(date: datetime) -> str:
    """A date as the Hub writes it."""
    return date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _about(repository: Repository, commit: Commit, *, blobs: bool) -> Fields:
    readme = commit.files.get("README.md")
    card: Fields = {}
    with contextlib.suppress(Invalid):  # a broken card has no metadata
        if readme:
            card = rules.metadata(repository.read(readme).decode(errors="replace"))
    return {
        "_id": git_name("blob", f"{repository.kind}/{repository.created}".encode())[:24],
        "id": repository.name,
        "author": repository.owner,
        "sha": commit.id,
        "createdAt": iso_date(repository.created),
        "lastModified": iso_date(repository.resolve("main").date),
        "private": repository.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": rules.tags(card),
        "cardData": card,
        "siblings": [
            {"rfilename": path} | (_blob(entry, "blobId", "sha256") if blobs else {})
            for path, entry in commit.files.items()
        ],
    }


def _blob(entry: Entry, oid: str, sha256: str) -> Fields:
    """The record of a file, whose names are called so in siblings and otherwise in trees."""
    fields: Fields = {oid: entry.oid, "size": entry.size}
    if entry.large:
        size = len(pointer(entry.sha256, entry.size))
        fields["lfs"] = {sha256: entry.sha256, "size": entry.size, "pointerSize": size}
    return fields


def _discussion(repository: Repository, pull: str) -> Fields:
    commit = repository.resolve(pull)
    return {
        "num": int(pull.rpartition("/")[2]),
        "title": commit.title,
        "author": {"name": commit.author},
        "createdAt": iso_date(commit.date),
        "status": repository.status(pull),
        "isPullRequest": True,
        "repo": {"name": repository.name, "type": repository.kind},
    }


def _expanded(context: Context, about: Fields) -> Fields:
    """All that is known, or only what `expand` asks for."""
    keys = context.call.query.get("expand", []) + context.call.query.get("expand[]", [])
    if unknown := [key for key in keys if key not in about]:
        raise Invalid(f"expand: {unknown[0]!r} is not known here; {', '.join(about)} are")
    return {key: about[key] for key in ("_id", "id", *keys)} if keys else about


def _is_wanted(context: Context, about: Fields) -> bool:
    query = context.call.query
    return (
        all(word.lower() in about["id"].lower() for word in query.get("search", []))
        and context.call.one("author", about["author"]) == about["author"]
        and all(tag in about["tags"] for tag in query.get("filter", []))
    )


def _entry(context: Context, path: str, *, expand: bool) -> Fields:
    commit = context.commit
    if path in commit.folders:
        fields = {"type": "directory", "oid": commit.folders[path], "size": 0, "path": path}
    else:
        fields = {"type": "file", "path": path, **_blob(commit.files[path], "oid", "oid")}
    if expand:
        last = commit  # the commit that made the file or folder what it is
        for earlier in context.repository.history(commit.id):
            if earlier.name(path) != last.name(path):
                break
            last = earlier
        fields["lastCommit"] = {"id": last.id, "title": last.title, "date": iso_date(last.date)}
    return fields
