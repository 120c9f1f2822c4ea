"""What there is: repositories, their commits and references."""

import html
from datetime import datetime
from typing import Any

from d3data.testing import frontmatter
from d3data.testing.accounts import sees
from d3data.testing.commits import Commit
from d3data.testing.objects import Entry, git_name, pointer
from d3data.testing.refusals import Invalid
from d3data.testing.repository import Repository
from d3data.testing.site import KINDS, Visit
from d3data.testing.wire import Reply, as_json, page


def info(visit: Visit) -> Reply:
    """GET .../{name} and .../{name}/revision/{revision}, `blobs` for sizes, or `expand`."""
    about = _about(visit.repository, visit.commit, blobs=visit.call.flag("blobs"))
    return as_json(_expanded(visit, about), {"X-Repo-Commit": visit.commit.id})


def listing(visit: Visit) -> Reply:
    """GET /api/datasets: those the user may see, by `search`, `author` and `filter`."""
    call, found = visit.call, []
    for repository in visit.site.store.all(KINDS[visit.names["kind"]]):
        if sees(visit.user, repository):
            about = _about(repository, repository.resolve("main"), blobs=False)
            if _wanted(visit, about):
                found.append(_expanded(visit, about))
    if not call.flag("full") and "expand" not in call.query:
        found = [{key: value for key, value in one.items() if key != "siblings"} for one in found]
    limit = int(call.one("limit", str(visit.site.settings.page)))
    return page(call, found, min(limit, visit.site.settings.page), endpoint=visit.site.endpoint)


def refs(visit: Visit) -> Reply:
    """GET .../refs, with pull requests if `include_prs`."""
    repository = visit.repository
    found = {
        "branches": [_ref("refs/heads/", *pair) for pair in repository.branches.items()],
        "tags": [_ref("refs/tags/", *pair) for pair in repository.tags.items()],
        "converts": [],
    }
    if visit.call.flag("include_prs"):
        found["pullRequests"] = [_ref("", *pair) for pair in repository.pulls.items()]
    return as_json(found)


def commits(visit: Visit) -> Reply:
    """GET .../commits/{revision}, the newest first."""
    found = []
    for commit in visit.repository.history(visit.names["revision"]):
        entry: dict[str, Any] = {
            "id": commit.id,
            "title": commit.title,
            "message": commit.description,
            "date": moment(commit.date),
            "authors": [{"user": commit.author}],
        }
        if "formatted" in visit.call.query.get("expand[]", []):
            told = {"title": commit.title, "message": commit.description}
            entry["formatted"] = {key: html.escape(text) for key, text in told.items()}
        found.append(entry)
    return page(visit.call, found, visit.site.settings.page, endpoint=visit.site.endpoint)


def discussions(visit: Visit) -> Reply:
    """GET .../discussions, page `p`, by `type`, `status` and `author`: the pull requests alone."""
    call, size = visit.call, visit.site.settings.page
    found = [_talk(visit.repository, pull) for pull in reversed(visit.repository.pulls)]
    status, author = call.one("status", "all"), call.one("author")
    kept = [
        talk
        for talk in found
        if call.one("type") != "discussion"
        and status in ("all", talk["status"])
        and author in ("", talk["author"]["name"])
    ]
    start = int(call.one("p", "0")) * size
    told = {"discussions": kept[start : start + size], "count": len(kept), "start": start}
    return as_json(told)


def moment(date: datetime) -> str:
    """A date as the Hub writes it."""
    return date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def in_lfs(entry: Entry, key: str) -> dict[str, Any]:
    """What is told of a large file; siblings call its sha256 so, trees call it oid."""
    size = len(pointer(entry.sha256, entry.size))
    return {key: entry.sha256, "size": entry.size, "pointerSize": size}


def _about(repository: Repository, commit: Commit, *, blobs: bool) -> dict[str, Any]:
    readme = commit.files.get("README.md")
    card = frontmatter.lenient(repository.read(readme)) if readme else {}
    return {
        "_id": git_name("blob", f"{repository.kind}/{repository.created}".encode())[:24],
        "id": repository.name,
        "author": repository.name.partition("/")[0],
        "sha": commit.id,
        "createdAt": moment(repository.created),
        "lastModified": moment(repository.resolve("main").date),
        "private": repository.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": frontmatter.tags(card),
        "cardData": card,
        "siblings": [_sibling(*pair, blobs=blobs) for pair in commit.files.items()],
    }


def _talk(repository: Repository, pull: str) -> dict[str, Any]:
    commit = repository.resolve(pull)
    return {
        "num": int(pull.rpartition("/")[2]),
        "title": commit.title,
        "author": {"name": commit.author},
        "createdAt": moment(commit.date),
        "status": repository.status(pull),
        "isPullRequest": True,
        "repo": {"name": repository.name, "type": repository.kind},
    }


def _sibling(path: str, entry: Entry, *, blobs: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"rfilename": path}
    if blobs:
        told |= {"size": entry.size, "blobId": entry.oid}
        if entry.large:
            told["lfs"] = in_lfs(entry, "sha256")
    return told


def _expanded(visit: Visit, about: dict[str, Any]) -> dict[str, Any]:
    """All that is known, or only what `expand` asks for."""
    asked = visit.call.query.get("expand", []) + visit.call.query.get("expand[]", [])
    if unknown := [key for key in asked if key not in about]:
        raise Invalid(f"expand: {unknown[0]!r} is not known here; {', '.join(about)} are")
    return {key: about[key] for key in ("_id", "id", *asked)} if asked else about


def _wanted(visit: Visit, about: dict[str, Any]) -> bool:
    query = visit.call.query
    return (
        all(word.lower() in about["id"].lower() for word in query.get("search", []))
        and visit.call.one("author", about["author"]) == about["author"]
        and all(tag in about["tags"] for tag in query.get("filter", []))
    )


def _ref(where: str, name: str, commit: str) -> dict[str, str]:
    short = name.removeprefix("refs/")
    return {"name": short, "ref": f"{where}{name}", "targetCommit": commit}
