"""The command `d3data audit`."""

from operator import attrgetter
from pathlib import Path
from typing import Annotated

import typer

from d3data.cli.options import (
    Columns,
    Data,
    Device,
    Json,
    Splits,
    Task,
    Trained,
    White,
    named_splits,
)
from d3data.cli.output import give, require_suffix, say, say_notes
from d3data.cli.progress import Display
from d3data.utils import atomic
from d3data.utils.text import table

PAIRS = 5  # of each space, that are printed
PAIR_NUMBERS = attrgetter("train", "train_distance", "test", "test_distance", "ratio")
PAIR_HEADINGS = ("by", "item", "draw", "train", "distance", "test", "distance", "ratio")


def audit(
    name: Trained,
    data: Data = None,
    task: Task = None,
    columns: Columns = None,
    split: Splits = None,
    white: White = None,
    draws: Annotated[int, typer.Option(min=1, help="Of each prior, beside its mean.")] = 64,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="Write all of it here, as JSON.")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Draw the closest pairs: a PNG that shows REAL images.")
    ] = None,
    attach: Annotated[
        bool, typer.Option("--attach", help="Write it into the artifact, for its card.")
    ] = False,
    json: Json = False,
) -> None:
    """Say how near a data set comes to the real images that it was made from.

    For every item the nearest train and test images are found, by pixels and by a network's
    features. It finds copies; it is no proof of privacy.
    """
    from d3data import artifact
    from d3data.artifact.manifest import NAME
    from d3data.evaluation import audit as audited
    from d3data.evaluation import pairs as drawn
    from d3data.evaluation.leakage.audit import PATH, opened
    from d3data.utils import canonical_json

    folder = Path(name)
    if attach and not (folder / NAME).is_file():
        raise typer.BadParameter("--attach writes into the folder of a set: name it so, ./x or /x")
    require_suffix(pairs, ".png")
    for parent in pairs.resolve().parents if pairs else ():
        if (parent / NAME).exists():
            raise typer.BadParameter(
                f"{pairs} would lie in the artifact {parent}, and shows real images: write it "
                "elsewhere"
            )
    reading = {"columns": columns, "splits": named_splits(split or []), "white": white}
    made, real = opened(name, task, data, **reading)
    say_notes(made)
    with Display() as display:
        result = audited(made, real, draws=draws, device=device, progress=display.show, name=name)
    if out is not None:
        atomic.write_json(out, result.dump())
    if pairs is not None:
        atomic.write_bytes(pairs, drawn(result, made, real))
        say(f"{pairs} shows real images: their terms hold for it, and it may be private")
    if attach:
        artifact.extend(folder, {PATH: canonical_json.encode(result.brief().dump())})
        say(f"{folder / PATH} is written: `d3data card {name}` includes it")
    rows = [
        [one.space, pair.item, pair.draw or "mean", *PAIR_NUMBERS(pair)]
        for one in result.spaces
        for pair in one.closest[:PAIRS]
    ]
    text = "\n\n".join([result.data, *result.sentences(), table(PAIR_HEADINGS, rows)])
    give(text, result.dump(), as_json=json)
