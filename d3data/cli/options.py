"""Arguments and options that several commands have, each declared once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from d3data.cli import completion
from d3data.cli.output import say
from d3data.errors import UnknownNameError
from d3data.hub import names
from d3data.utils.paths import as_name


def _there(text: str | None) -> str | None:
    """A folder of a set or a run that is written as a name, as one.

    Shells complete it so. A short name that comes with d3data stays one.
    """
    from d3data.artifact.manifest import NAME
    from d3data.hub import index

    if text is None or "@" in text or text in index.shipped().sets:
        return text
    made = any((Path(text) / name).is_file() for name in (NAME, "env.json"))
    return as_name(Path(text)) if made else text


def _checked(
    parse: Callable[[str], object], spelled: Callable[[str | None], str | None] = lambda text: text
) -> Callable[[str | None], str | None]:
    """A callback for names that `parse` accepts; others end the command as wrong usage."""

    def check(text: str | None) -> str | None:
        text = spelled(text)
        try:
            if text is not None:
                parse(text)
        except UnknownNameError as fault:
            say(f"error: {fault}")
            raise typer.Exit(2) from None
        return text

    return check


def _images_or_name(text: str) -> None:
    """Accept what can be trained on: a name of a set, or a place of real images."""
    if not names.is_images(text):
        names.parse(text)


Trained = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        callback=_checked(_images_or_name, _there),
        autocompletion=completion.sets,
        help="A data set, as other commands name it; or any images, with --task: a folder or file "
        "written as ./x or /x, hf:ORG/NAME, or torchvision:CLASS:ROOT.",
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        callback=_checked(names.parse, _there),
        autocompletion=completion.sets,
        help="A short name of `d3data list`, one of the Hub (org/name, org/name@1.0.0), or a "
        "folder written as ./x or /x.",
    ),
]


def named_splits(texts: Sequence[str]) -> dict[Any, str] | None:
    """Options written ROLE=NAME as a table; None where there are none."""
    pairs = [text.partition("=") for text in texts]
    keys = [key for key, _, _ in pairs]
    if not all(key and value for key, _, value in pairs) or len({*keys}) < len(keys):
        raise typer.BadParameter(
            f"{' '.join(texts)}: write --split train=NAME; train, validation and test each once "
            "at most"
        )
    return {key: value for key, _, value in pairs} or None


ToRepository = Annotated[
    str,
    typer.Argument(
        metavar="REPO",
        callback=_checked(names.repository),
        help="The repository, OWNER/NAME; created if it is missing.",
    ),
]
OfRepository = Annotated[
    str | None,
    typer.Option(
        "--repo",
        metavar="OWNER/NAME",
        callback=_checked(names.repository),
        help="Where it is published; unless given, what the card that is there says, or NAME.",
    ),
]
Data = Annotated[str | None, typer.Option(help="Path to the real images (needed for your own).")]
Task = Annotated[
    str | None,
    typer.Option(
        help="The real images to test on, where NAME is no distilled set, which says them: a "
        "name, or a recipe, whose task says how --data is read."
    ),
]
Columns = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="IMAGE LABEL",
        help="Columns of a table, members of shards, or arrays, such as png cls.",
    ),
]
Splits = Annotated[
    list[str] | None,
    typer.Option(
        "--split",
        metavar="ROLE=NAME",
        help="Which folder, files or split is train, validation or test, such as "
        "test=my_test or 'train=part_*'; others are left out. Repeat it.",
    ),
]
White = Annotated[
    float | None,
    typer.Option(help="The value that is white in images of more than 8 bits, such as 4095."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.")]
ReportFile = Annotated[
    Path | None,
    typer.Option("--report", help="What `d3data evaluate --out` wrote; default: the set's own."),
]
OutFolder = Annotated[Path, typer.Option(help="The folder of the new artifact.")]
Json = Annotated[bool, typer.Option("--json", help="Give one JSON document and nothing else.")]
