"""Commands that show data sets to people: preview, card."""

import difflib
from pathlib import Path
from typing import Annotated

import typer

from d3data.cli.options import Json, Name, OfRepository, ReportFile
from d3data.cli.output import give, read_file, read_report, require_suffix, say
from d3data.errors import FormatError, IntegrityError
from d3data.utils.atomic import write_bytes
from d3data.utils.paths import as_name


def preview(
    name: Name,
    out: Annotated[
        Path | None, typer.Option(help="A picture; preview.png unless a page is asked for.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="A page to look around in.")] = None,
    report: ReportFile = None,
    json: Json = False,
) -> None:
    """Draw a picture, a row of draws for each class, or a page of its own."""
    from d3data.cards import Facts, Gallery, page, picture, stored_report
    from d3data.hub.resolve import resolve

    require_suffix(out, ".png")
    require_suffix(html, ".html")
    if report is not None and html is None:
        raise typer.BadParameter("--report is for a page: give --html too")
    artifact = resolve(name, extras=html is not None and report is None).read()
    gallery, made = Gallery(artifact), {}
    if out is not None or html is None:
        made["preview"] = out or Path("preview.png")
        write_bytes(made["preview"], picture(gallery))
    if html is not None:
        made["page"] = html
        facts = Facts.of(artifact, read_report(report) if report else stored_report(artifact))
        write_bytes(html, page(facts, gallery).encode())
    paths = {what: str(path) for what, path in made.items()}
    give("\n".join(paths.values()), paths, as_json=json)


def card(
    name: Name,
    out: Annotated[
        Path | None,
        typer.Option(help="Write it here, and keep what people wrote in the card that is there."),
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Only say whether this card is up to date.")
    ] = None,
    croissant: Annotated[
        Path | None, typer.Option(help="Also write the set's Croissant here, as JSON.")
    ] = None,
    repo: OfRepository = None,
    report: ReportFile = None,
) -> None:
    """Make the card of a data set, as the Hub shows it once it is published."""
    from d3data import cards
    from d3data.hub.client import Client
    from d3data.hub.resolve import resolve

    if out is not None and check is not None:
        raise typer.BadParameter("--out writes and --check only looks: give one of them")
    require_suffix(out, ".md")
    require_suffix(croissant, ".json")
    old = _text(check) if check else _text(out) if out and out.exists() else ""
    if out is not None and old and out.name != "README.md" and not old.startswith("---"):
        raise typer.BadParameter(f"{out} exists and is no card: choose another name for --out")
    place = resolve(name, extras=True)
    repo = repo or cards.repository(old) or place.repository
    artifact, endpoint = place.read(), Client().endpoint if repo else cards.HUB
    measured = read_report(report) if report else None
    facts = cards.finished(artifact, measured, repo=repo, endpoint=endpoint)
    text = cards.merge(old, cards.card(facts))
    if check is not None and (line := _difference(old, text)):
        raise IntegrityError(f"{check} is not up to date: {line}; `--out {check}` renews it")
    if croissant is not None:
        write_bytes(croissant, cards.croissant(facts).encode())
    if check is not None:
        say(f"{check} is up to date")
    elif out is not None:
        write_bytes(out, text.encode())
        typer.echo(str(out))
    else:
        typer.echo(text, nl=False)


def describe(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An artifact.")],
    licence: Annotated[
        str | None,
        typer.Option("--licence", "--license", help="Of the real images, such as CC-BY-4.0."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Where the real images are from, in a line.")
    ] = None,
) -> None:
    """Correct what a finished set says of its real images; what is trained on stays as it is."""
    from d3data.artifact import artifact

    given = {"license": licence, "source": source}
    changes = {key: text for key, text in given.items() if text is not None}
    if not changes:
        raise typer.BadParameter("say what to correct: --licence, --source, or both")
    artifact.describe(folder, **changes)
    place = as_name(folder)
    say(f"{place} is corrected; a card that was made before is renewed by `d3data card {place}`")


def _text(path: Path) -> str:
    try:
        return read_file(path).decode()
    except UnicodeDecodeError as fault:
        raise FormatError(f"{path} is not UTF-8 ({fault.reason}): save it again as text") from None


def _difference(old: str, new: str) -> str | None:
    """The first line in which two texts differ; None where none does."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    changed = [line for line in lines if line[:1] in "-+" and line[:3] not in ("---", "+++")]
    return None if old == new else repr(changed[0]) if changed else "line ends differ"
