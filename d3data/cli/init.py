"""The command `init`: from real images to a recipe that fits bytes and minutes."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from d3data.cli.options import Columns, Device, Splits, White, named_splits
from d3data.cli.output import require_writable, say
from d3data.errors import RecipeError
from d3data.utils.atomic import write_bytes
from d3data.utils.text import counted, some

if TYPE_CHECKING:
    from d3data.images.scan import ImageScan


def init(
    place: Annotated[
        str,
        typer.Argument(metavar="DATA", help="A folder of images, or hf:... or torchvision:..."),
    ],
    budget: Annotated[
        str, typer.Option(help="What manifest and parts may take on disk.")
    ] = "100kB",
    out: Annotated[Path, typer.Option(help="Where the recipe goes.")] = Path("recipe.toml"),
    name: Annotated[
        str | None, typer.Option(help="Of the images and the set; default: that of the folder.")
    ] = None,
    columns: Columns = None,
    split: Splits = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="How many classes there must be, such as 1.")
    ] = None,
    white: White = None,
    minutes: Annotated[
        float,
        typer.Option(min=0.1, help="What `distill` and its verdict may take on this machine."),
    ] = 10.0,
    size: Annotated[
        int | None,
        typer.Option(min=8, max=512, help="Pixels of a side; default: what both budgets allow."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--licence", "--license", help="Of the images, such as CC-BY-4.0."),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Look at real images, time a few steps, and write a recipe that fits bytes and minutes."""
    from d3data.distill.budget import parse_size
    from d3data.distill.suggest import suggest
    from d3data.distill.suggest_notes import forecast_text
    from d3data.images.scan import scan_images

    if out.suffix != ".toml":
        raise typer.BadParameter(f"{out}: the path to a recipe must end in .toml")
    require_writable(out)
    options: dict[str, Any] = {"columns": columns, "classes": classes, "white": white}
    options |= {"name": name, "splits": named_splits(split or [])}
    limit, images = parse_size(budget), scan_images(place, **options)
    if out.exists():
        raise RecipeError(f"{out} exists: give another --out, or remove it")
    say(describe(images))
    if not images.problems:
        say("timing a few steps, which takes up to a minute ...")
    made = suggest(images, size=limit, minutes=minutes, side=size, license=licence, device=device)
    takes = forecast_text(made.seconds, made.verdict_seconds)
    said = [*made.notes, takes]
    command = f"d3data distill {quote(str(out))} --data {quote(place)}"
    command += f" --verdict {max(0.1, made.verdict_seconds / 60):.1f}"
    command += f" --device {device}" * (device != "cpu")
    sizes = {"minutes": f"{minutes:g}", "size": size, "licence": licence}
    typed = _spelled(options, split or []) + _spelled(sizes, [])
    header = [f"Made by d3data init {quote(place)} --budget {quote(budget)}{typed}", *said]
    header += ["all steps go through the rounding, and are those of [quantize]"]
    comment = "".join(f"# {_printable(line)}\n" for line in [*header, command])
    write_bytes(out, f"{comment}\n{made.recipe.to_toml()}".encode())
    say("\n".join([*said, f"next: {command}"]))
    typer.echo(str(out))


def _printable(line: str) -> str:
    """A comment in one line, whatever a path is called."""
    return "".join(c if c.isprintable() else "?" for c in line)


def _spelled(options: dict[str, Any], split: list[str]) -> str:
    """The options of `init` that were given, as they are written."""
    given = [(key, value) for key, value in options.items() if key != "splits" and value]
    words = [
        word
        for key, value in [*given, *(("split", text) for text in split)]
        for word in (f"--{key}", *(value if isinstance(value, tuple) else [value]))
    ]
    return "".join(f" {quote(str(word))}" for word in words)


def describe(images: "ImageScan") -> str:
    """What a place with images holds, in lines."""
    sizes = ", ".join(f"{width}x{height} ({count})" for width, height, count in images.sizes[:4])
    modes = ", ".join(f"{mode} ({count})" for mode, count in images.modes[:4])
    rule = images.spec
    lines = [
        f"{images.place}: {counted(images.total, 'image')} of "
        f"{counted(len(images.classes), 'class', 'classes')}, {images.checked:,} looked at",
        *(_counts(split, each, images.classes) for split, each in images.counts.items() if each),
        *images.notes,
        f"sizes: {sizes}{' ...' if len(images.sizes) > 4 else ''}",
        f"modes: {modes}",
        f"rule: {'RGB' if rule.channels == 3 else 'gray'}, {rule.fit}"
        + (f", white is {rule.white:.6g}" if rule.white else ""),
    ]
    return "\n".join(lines)


def _counts(split: str, counts: Sequence[int], classes: Sequence[str]) -> str:
    each = (f"{name} {count}" for name, count in zip(classes, counts, strict=True))
    span = f"{min(counts)} to {max(counts)} a class" if len(set(counts)) > 1 else "evenly"
    return f"{split}: {counted(sum(counts), 'image')}, {span}: {some(each)}"
