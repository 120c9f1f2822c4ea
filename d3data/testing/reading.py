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
from d3data.testing.server import Reply, as_json, page, ranged, refused
from d3data.testing.site import KINDS, Context, can_see

EXPANDED_PAGE = 50  # entries of a page with the last commit of each


def info(context: Context) -> Reply:
    """GET .../{name} and .../{name}/revision/{revision}; `blobs` adds sizes, `expand` selects."""
    about = _about(context.repository, context.commit, blobs=context.call.flag("blobs"))
    return as_json(_expanded(context, about), {"X-Repo-Commit": context.commit.id})


def listing(context: Context) -> Reply:
    """GET /api/datasets: those the user may see, by `search`, `author` and `filter`."""
    call, found = context.call, []
    for repository in context.site.store.all(KINDS[context.names["kind"]]):
        if can_see(context.user, repository):
            about = _about(repository, repository.resolve("main"), blobs=False)
            if _wanted(context, about):
                found.append(_expanded(context, about))
    if not call.flag("full") and "expand" not in call.query:
        found = [{key: value for key, value in one.items() if key != "siblings"} for one in found]
    limit = int(call.one("limit", str(context.site.page)))
    return page(call, found, min(limit, context.site.page), endpoint=context.site.endpoint)


def refs(context: Context) -> Reply:
    """GET .../refs, with pull requests if `include_prs`."""
    repository = context.repository
    found = {
        "branches": [_ref("refs/heads/", *pair) for pair in repository.branches.items()],
        "tags": [_ref("refs/tags/", *pair) for pair in repository.tags.items()],
        "converts": [],
    }
    if context.call.flag("include_prs"):
        found["pullRequests"] = [_ref("", *pair) for pair in repository.pulls.items()]
    return as_json(found)


def commits(context: Context) -> Reply:
    """GET .../commits/{revision}, the newest first."""
    found = []
    for commit in context.repository.history(context.names["revision"]):
        entry: dict[str, Any] = {
            "id": commit.id,
            "title": commit.title,
            "message": commit.description,
            "date": iso_date(commit.date),
            "authors": [{"user": commit.author}],
        }
        if "formatted" in context.call.query.get("expand[]", []):
            fields = {"title": commit.title, "message": commit.description}
            entry["formatted"] = {key: html.escape(text) for key, text in fields.items()}
        found.append(entry)
    return page(context.call, found, context.site.page, endpoint=context.site.endpoint)


def discussions(context: Context) -> Reply:
    """GET .../discussions, page `p`, by `type`, `status` and `author`: the pull requests alone."""
    call, size = context.call, context.site.page
    found = [_discussion(context.repository, pull) for pull in reversed(context.repository.pulls)]
    status, author = call.one("status", "all"), call.one("author")
    kept = [
        talk
        for talk in found
        if call.one("type") != "discussion"
        and status in ("all", talk["status"])
        and author in ("", talk["author"]["name"])
    ]
    start = int(call.one("p", "0")) * size
    fields = {"discussions": kept[start : start + size], "count": len(kept), "start": start}
    return as_json(fields)


def iso_date(date: datetime) -> str:
    """A date as the Hub writes it."""
    return date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def in_lfs(entry: Entry, key: str) -> dict[str, Any]:
    """The LFS record of a large file; its sha256 is called so in siblings, oid in trees."""
    size = len(pointer(entry.sha256, entry.size))
    return {key: entry.sha256, "size": entry.size, "pointerSize": size}


def _about(repository: Repository, commit: Commit, *, blobs: bool) -> dict[str, Any]:
    readme = commit.files.get("README.md")
    card: dict[str, Any] = {}
    with contextlib.suppress(Invalid):  # a broken card has no metadata
        if readme:
            card = rules.metadata(repository.read(readme).decode(errors="replace"))
    return {
        "_id": git_name("blob", f"{repository.kind}/{repository.created}".encode())[:24],
        "id": repository.name,
        "author": repository.name.partition("/")[0],
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
        "siblings": [_sibling(*pair, blobs=blobs) for pair in commit.files.items()],
    }


def _discussion(repository: Repository, pull: str) -> dict[str, Any]:
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


def _sibling(path: str, entry: Entry, *, blobs: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"rfilename": path}
    if blobs:
        fields |= {"size": entry.size, "blobId": entry.oid}
        if entry.large:
            fields["lfs"] = in_lfs(entry, "sha256")
    return fields


def _expanded(context: Context, about: dict[str, Any]) -> dict[str, Any]:
    """All that is known, or only what `expand` asks for."""
    asked = context.call.query.get("expand", []) + context.call.query.get("expand[]", [])
    if unknown := [key for key in asked if key not in about]:
        raise Invalid(f"expand: {unknown[0]!r} is not known here; {', '.join(about)} are")
    return {key: about[key] for key in ("_id", "id", *asked)} if asked else about


def _wanted(context: Context, about: dict[str, Any]) -> bool:
    query = context.call.query
    return (
        all(word.lower() in about["id"].lower() for word in query.get("search", []))
        and context.call.one("author", about["author"]) == about["author"]
        and all(tag in about["tags"] for tag in query.get("filter", []))
    )


def _ref(where: str, name: str, commit: str) -> dict[str, str]:
    short = name.removeprefix("refs/")
    return {"name": short, "ref": f"{where}{name}", "targetCommit": commit}


def tree(context: Context) -> Reply:
    """GET .../tree/{revision}/{path}: the entries of a folder, `recursive` or not."""
    folder = context.names.get("path") or ""
    expand = context.call.flag("expand")
    if folder not in context.commit.folders:
        raise NoEntry(f"{folder} does not exist on {context.names['revision']}")
    start = f"{folder}/" if folder else ""
    paths = [
        path
        for path in sorted([*context.commit.folders, *context.commit.files])
        if path.startswith(start) and path != folder
    ]
    if not context.call.flag("recursive"):
        paths = [path for path in paths if "/" not in path.removeprefix(start)]
    found = [_entry(context, path, expand=expand) for path in paths]
    size = min(context.site.page, EXPANDED_PAGE if expand else context.site.page)
    return page(context.call, found, size, endpoint=context.site.endpoint)


def paths_info(context: Context) -> Reply:
    """POST .../paths-info/{revision}, a form or JSON; unknown paths are left out."""
    call = context.call
    if "json" in call.headers.get("content-type", ""):
        asked = call.json()
        paths, expand = asked.get("paths", []), bool(asked.get("expand"))
    else:
        form = urllib.parse.parse_qs(call.body.decode(), keep_blank_values=True)
        paths, expand = form.get("paths", []), form.get("expand", [""])[-1].lower() == "true"
    known = [
        path for path in paths if path in context.commit.files or path in context.commit.folders
    ]
    return as_json([_entry(context, path, expand=expand) for path in known])


def resolve(context: Context) -> Reply:
    """GET or HEAD .../resolve/{revision}/{path}: a file, or a redirect to a large one."""
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


def _entry(context: Context, path: str, *, expand: bool) -> dict[str, Any]:
    commit = context.commit
    fields: dict[str, Any]
    if path in commit.folders:
        fields = {"type": "directory", "oid": commit.folders[path], "size": 0, "path": path}
    else:
        entry = commit.files[path]
        fields = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
        if entry.large:
            fields["lfs"] = in_lfs(entry, "oid")
    if expand:
        fields["lastCommit"] = _last_commit(context, path)
    return fields


def _last_commit(context: Context, path: str) -> dict[str, str]:
    """The commit that made a file or folder what it is."""
    last = context.commit
    for commit in context.repository.history(context.commit.id):
        if _name(commit, path) != _name(last, path):
            break
        last = commit
    return {"id": last.id, "title": last.title, "date": iso_date(last.date)}


def _name(commit: Commit, path: str) -> str | None:
    return commit.files[path].oid if path in commit.files else commit.folders.get(path)


def download(context: Context) -> Reply:
    """GET or HEAD an object, or a range of it."""
    sha256 = context.names["sha256"]
    if sha256 not in context.stored_repository.large:
        raise NoEntry
    entry = context.stored_repository.kept(sha256)
    return ranged(context.call, context.stored_repository.read(entry), {"ETag": f'"{sha256}"'})
