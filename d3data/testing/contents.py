"""What is in a repository: trees, paths, and the files themselves."""

import urllib.parse
from typing import Any

from d3data.testing.commits import Commit
from d3data.testing.listing import in_lfs, moment
from d3data.testing.refusals import NoEntry
from d3data.testing.site import Visit, quoted
from d3data.testing.wire import Reply, as_json, page, ranged, refused

EXPANDED_PAGE = 50  # entries of a page that tells the last commit of each


def tree(visit: Visit) -> Reply:
    """GET .../tree/{revision}/{path}: the entries of a folder, `recursive` or not."""
    folder = visit.names.get("path") or ""
    expand = visit.call.flag("expand")
    if folder not in visit.commit.folders:
        raise NoEntry(f"{folder} does not exist on {visit.names['revision']}")
    start = f"{folder}/" if folder else ""
    paths = [
        path
        for path in sorted([*visit.commit.folders, *visit.commit.files])
        if path.startswith(start) and path != folder
    ]
    if not visit.call.flag("recursive"):
        paths = [path for path in paths if "/" not in path.removeprefix(start)]
    found = [_entry(visit, path, expand=expand) for path in paths]
    size = min(visit.site.settings.page, EXPANDED_PAGE if expand else visit.site.settings.page)
    return page(visit.call, found, size, endpoint=visit.site.endpoint)


def paths_info(visit: Visit) -> Reply:
    """POST .../paths-info/{revision}, a form or JSON; unknown paths are left out."""
    call = visit.call
    if "json" in call.headers.get("content-type", ""):
        asked = call.json()
        paths, expand = asked.get("paths", []), bool(asked.get("expand"))
    else:
        form = urllib.parse.parse_qs(call.body.decode(), keep_blank_values=True)
        paths, expand = form.get("paths", []), form.get("expand", [""])[-1].lower() == "true"
    known = [path for path in paths if path in visit.commit.files or path in visit.commit.folders]
    return as_json([_entry(visit, path, expand=expand) for path in known])


def resolve(visit: Visit) -> Reply:
    """GET or HEAD .../resolve/{revision}/{path}: a file, or for a large one where it is."""
    repository, commit, path = visit.repository, visit.commit, visit.names["path"]
    told = {"X-Repo-Commit": commit.id}
    entry = commit.files.get(path)
    if entry is None:
        return refused(NoEntry(), told)
    if not (entry.large and visit.site.settings.redirect):
        return ranged(visit.call, repository.read(entry), {**told, "ETag": f'"{entry.etag}"'})
    where = {
        "Location": f"{visit.site.stored(repository, entry)}/{quoted(path.rpartition('/')[2])}",
        "ETag": f'"{entry.oid}"',
        "X-Linked-ETag": f'"{entry.etag}"',
        "X-Linked-Size": str(entry.size),
        "Accept-Ranges": "bytes",
    }
    return Reply(302, b"", {**told, **where})


def _entry(visit: Visit, path: str, *, expand: bool) -> dict[str, Any]:
    commit = visit.commit
    told: dict[str, Any]
    if path in commit.folders:
        told = {"type": "directory", "oid": commit.folders[path], "size": 0, "path": path}
    else:
        entry = commit.files[path]
        told = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
        if entry.large:
            told["lfs"] = in_lfs(entry, "oid")
    if expand:
        told["lastCommit"] = _last_commit(visit, path)
    return told


def _last_commit(visit: Visit, path: str) -> dict[str, str]:
    """The commit that made a file or folder what it is."""
    last = visit.commit
    for commit in visit.repository.history(visit.commit.id):
        if _name(commit, path) != _name(last, path):
            break
        last = commit
    return {"id": last.id, "title": last.title, "date": moment(last.date)}


def _name(commit: Commit, path: str) -> str | None:
    return commit.files[path].oid if path in commit.files else commit.folders.get(path)
