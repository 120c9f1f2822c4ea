"""The command that looks for copies of real images in a data set: audit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from d3data.cli.distill import Data, Device
from d3data.cli.list_info import Name
from d3data.cli.output import Json, give, say, table
from d3data.cli.progress import Display

if TYPE_CHECKING:
    from d3data.evaluation import Audit

SHOWN = 5  # pairs of each space


def audit(
    name: Name,
    data: Data = None,
    task: Annotated[
        str | None,
        typer.Option(help="The real images, where the set does not say."),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Of each prior, beside its mean.")] = 64,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="Write all of it here, as JSON.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Draw the closest pairs: a PNG that shows REAL images."),
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
    from d3data.utils.atomic import write_bytes, write_json

    folder = Path(name)
    if attach and not (folder / NAME).is_file():
        raise typer.BadParameter("--attach writes into the folder of a set: name it so, ./x or /x")
    if pairs is not None:
        _require_outside(pairs)
    made, real = opened(name, task, data)
    with Display() as display:
        found = audited(made, real, draws=draws, device=device, progress=display.step)
    if out is not None:
        write_json(out, found.dump())
    if pairs is not None:
        write_bytes(pairs, drawn(found, made, real))
        say(f"{pairs} shows real images: their terms hold for it, and it may be private")
    if attach:
        artifact.extend(folder, {PATH: canonical_json.encode(found.brief().dump())})
        say(f"{folder / PATH} is written: `d3data card {name}` tells it")
    give(_told(found), found.dump(), as_json=json)


def _told(found: "Audit") -> str:
    headings = ["by", "item", "draw", "train", "distance", "test", "distance", "ratio"]
    rows = [
        [
            one.space,
            pair.item,
            pair.draw or "mean",
            pair.train,
            pair.train_distance,
            pair.test,
            pair.test_distance,
            pair.ratio,
        ]
        for one in found.spaces
        for pair in one.closest[:SHOWN]
    ]
    return "\n\n".join([found.data, *found.sentences(), table(headings, rows)])


def _require_outside(picture: Path) -> None:
    """Real images never get into an artifact."""
    from d3data.artifact.manifest import NAME

    if picture.suffix.lower() != ".png":
        raise typer.BadParameter(f"{picture} must end in .png, as that is what is written")
    for folder in picture.resolve().parents:
        if (folder / NAME).exists():
            raise typer.BadParameter(
                f"{picture} would lie in the artifact {folder}, and shows real images: write it "
                "elsewhere"
            )
