"""Commands that find, fetch and publish data sets: list, info, pull, verify, publish."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from d3data.cli.options import Json, Name, ReportFile, ToRepository
from d3data.cli.output import give, read_report, say
from d3data.utils.paths import as_name
from d3data.utils.text import some, table

if TYPE_CHECKING:
    from d3data.hub.index import Found
    from d3data.publishing import Publication


def list_sets(
    pattern: Annotated[str, typer.Argument(help="Such as 'digits*'.")] = "*", json: Json = False
) -> None:
    """List the data sets that are known by a short name."""
    from d3data.hub import index

    sets = index.search(pattern)
    document = {
        name: {**one.entry.dump(), "folder": one.shipped and str(one.shipped)}
        for name, one in sets.items()
    }
    rows = [[name, *_cells(one)] for name, one in sets.items()]
    headings = ["name", "version", "where", "budget", "accuracy %", "what"]
    give(table(headings, rows), document, as_json=json)


def info(name: Name, json: Json = False) -> None:
    """Show what a data set is, where it comes from, and what its bytes are spent on."""
    from d3data.data.info import info

    found = info(name)
    give(str(found), found.dump(), as_json=json)


def pull(
    name: Name,
    extras: Annotated[
        bool, typer.Option("--extras", help="Also recipe, report, preview and card.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Fetch again what is there.")] = False,
) -> None:
    """Fetch a data set of the Hub, check it, and print the folder where it is."""
    from d3data.hub.fetch import pull

    typer.echo(as_name(pull(name, extras=extras, force_download=force)))


def verify(
    name: Name,
    golden: Annotated[
        bool, typer.Option("--golden", help="Also draw the golden images on this machine.")
    ] = False,
    json: Json = False,
) -> None:
    """Read the files of a data set that are here, and say whether they are what was published."""
    from d3data.hub.resolve import resolve

    place = resolve(name)
    page = place.check(golden=golden).manifest
    document = {
        "folder": str(place.folder),
        "revision": place.revision,
        "name": page.about.name,
        "version": page.about.version,
        "content_sha256": page.content_sha256,
        "golden": golden,
        "left_out": (left_out := place.not_downloaded(page)),
    }
    drawn = ", and its golden images are the same on this machine" if golden else ""
    line = f"{page.about.name} {page.about.version} verified{drawn}: {page.content_sha256}"
    give(line, document, as_json=json)
    if left_out:
        say(f"not fetched: {some(left_out)}; `d3data pull --extras {place.name}` brings them")


def publish(
    name: Name,
    repository: ToRepository,
    version: Annotated[
        str | None, typer.Option(help="X.Y.Z; default: the artifact's own.")
    ] = None,
    report: ReportFile = None,
    private: Annotated[
        bool, typer.Option("--private", help="Create a private repository.")
    ] = False,
    create_pr: Annotated[
        bool,
        typer.Option("--create-pr", help="Open a pull request; publish again after the merge."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Publish an artifact on the Hub: one commit, one tag, downloaded again and checked.

    If interrupted, run it again.
    """
    from d3data.publishing import publish

    own = read_report(report) if report else None
    options = {"private": private, "create_pr": create_pr, "dry_run": dry_run}
    done = publish(
        name,
        repository,
        version=version,
        report=own,
        progress=lambda at: say(at.message),
        **options,
    )
    give(_summary(done), asdict(done), as_json=json)


def _summary(done: "Publication") -> str:
    name = f"{done.repository}@{done.version}"
    if not done.dry_run:
        return done.pull_request or name
    if not done.changes:
        left = "nothing to do" if done.commit else f"nothing to send but the tag v{done.version}"
        return f"{name}: {left}, all files are up to date"
    new = " in a new repository" if done.created else ""
    rows = [[change.what, change.path, change.size] for change in done.changes]
    tag = f"v{done.version} exists already" if done.commit else f"tag v{done.version}"
    return "\n".join([f"{name}{new}: {len(rows)} files, {tag}", table(["", "", "bytes"], rows)])


def _cells(one: "Found") -> list[str]:
    entry, budget, fits = one.entry, one.entry.budget, ""
    if budget is not None:
        fits = f"{budget.values:,} values" if budget.values else f"{budget.bytes:,} bytes"
    version = entry.version or ("newest" if one.published else "not published yet")
    accuracy = "" if entry.accuracy is None else f"{100 * entry.accuracy:.1f}"
    where = entry.repository or ("here" if one.shipped else "")
    return [version, where, fits, accuracy, entry.about]
