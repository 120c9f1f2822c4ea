"""Commands that take over what other people made: convert."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from d3data.cli.options import Columns, Json, OutFolder, Splits, White, named_splits
from d3data.cli.output import give, say
from d3data.utils.paths import as_name

convert: typer.Typer = typer.Typer(
    help="Make an artifact of a distilled set that others published.", no_args_is_help=True
)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r}: write 0.5, or 0.4,0.5,0.6") from None


def _lines(text: str) -> list[str]:
    try:
        return Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise typer.BadParameter(f"{text}: {fault}") from None


Draws = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Draws of each class in an epoch; default: as the largest class has items, for "
        "d3-official at least 128.",
    ),
]
RealData = Annotated[
    str | None,
    typer.Option(help="The real images: for class names and fingerprint. Nothing is fetched."),
]
Classes = Annotated[
    Any,
    typer.Option(parser=_lines, metavar="FILE", help="The class names of the task, a line each."),
]
WHITENED = ("datm", "mtt")  # methods whose values are often whitened
NUMBERS: dict[str, Any] = {"parser": _numbers, "metavar": "NUMBERS"}
SUBTRACTED = "What was subtracted from pixels of 0 to 1: 0.5, or 0.4,0.5,0.6."
Mean = Annotated[Any, typer.Option(**NUMBERS, help=SUBTRACTED)]
Std = Annotated[Any, typer.Option(**NUMBERS, help="What they were then divided by.")]
Teacher = Annotated[str, typer.Option(help="The network behind soft labels.")]
Name = Annotated[str | None, typer.Option(help="Of the set; default: that of its folder.")]
License = Annotated[
    str | None,
    typer.Option(
        "--license", "--licence", help="The terms of the set; default: those of the real images."
    ),
]


@convert.command("d3-official")
def d3_official(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="A .pt file for each subtask, in order of classes.")
    ],
    out: OutFolder,
    task: Annotated[str, typer.Option(help="The data set that was distilled.")] = "imagenet-64",
    soft_labels: Annotated[
        list[str] | None,
        typer.Option(
            help="The labels of each checkpoint: repeated, or a quoted pattern such as "
            "'*_softlabel.pt', whose files are taken in order of name."
        ),
    ] = None,
    teacher: Teacher = "unknown",
    norms: Annotated[
        Literal["running", "batch"],
        typer.Option(
            help="Batch norms with the statistics in the files, or with those of a batch of all "
            "priors, as the authors evaluated."
        ),
    ] = "running",
    data: RealData = None,
    classes: Classes = None,
    class_order: Annotated[
        Literal["wordnet", "downsampled"] | None,
        typer.Option(
            help="How ImageNet's classes are numbered where their names are no WordNet ids: by "
            "WordNet id (0 is the tench), or as in the downsampled ImageNet (0 is the kit fox)."
        ),
    ] = None,
    mean: Mean = None,
    std: Std = None,
    draws_per_class: Draws = None,
    name: Name = None,
    license: License = None,
    json: Json = False,
) -> None:
    """The checkpoints that the authors of D3 published."""
    options = {**locals(), "soft_labels": _listed(soft_labels or [], "--soft-labels")}
    _convert("d3_official", options)


@convert.command()
def images(
    source: Annotated[
        list[Path],
        typer.Argument(
            help="A .pt file of tensors, or several of one set; or images in a folder, an .npz, "
            "tables or shards."
        ),
    ],
    out: OutFolder,
    task: Annotated[
        str,
        typer.Option(
            help="The data set that was distilled, such as cifar10; or a recipe, whose task says "
            "how --data is read."
        ),
    ],
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="The .pt file of labels, where the images have none: repeated, or a quoted "
            "pattern, for several."
        ),
    ] = None,
    labels_are: Annotated[
        Literal["probabilities", "logits"], typer.Option(help="What labels (N, K) of floats are.")
    ] = "probabilities",
    index: Annotated[
        int, typer.Option(min=0, help="Which of the experiments that DC, DSA and DM save.")
    ] = 0,
    factor: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many smaller images each one shows along a side, as those of IDC and DREAM "
            "do: 2 or 3; 1 if it shows one.",
        ),
    ] = None,
    mean: Mean = None,
    std: Std = None,
    zca: Annotated[
        bool, typer.Option("--zca", help="The images were whitened; --data undoes it.")
    ] = False,
    regularization: Annotated[
        float,
        typer.Option(
            "--regularization", "--regularisation", help="What --zca added to the eigenvalues."
        ),
    ] = 0.1,
    data: RealData = None,
    columns: Columns = None,
    split: Splits = None,
    white: White = None,
    classes: Classes = None,
    method: Annotated[
        str, typer.Option(help="dc, dsa, dm, mtt, datm, idc, dream, glad, sre2l, or another.")
    ] = "unknown",
    reference: Annotated[str | None, typer.Option(help="Its paper, where it is another.")] = None,
    teacher: Teacher = "unknown",
    step_size: Annotated[
        str, typer.Option(help="The method's: a number, or the .pt file of a learned one.")
    ] = "0.01",
    as_given: Annotated[
        bool,
        typer.Option("--as-given", help="Accept values unlike pixels of the task's images."),
    ] = False,
    draws_per_class: Draws = None,
    name: Name = None,
    license: License = None,
    json: Json = False,
) -> None:
    """Distilled images of DC, DSA, DM, MTT and others."""
    options = {
        **locals(),
        "zca": regularization if zca else None,
        "labels": _listed(labels or [], "--labels"),
        "splits": named_splits(split or []),
    }
    del options["regularization"], options["split"]
    if method in WHITENED and not zca:
        say(
            f"{method} whitened most of its sets of colour images, which is not always seen: if "
            "this is one of these, convert it with --zca and --data"
        )
    _convert("images", options)


@convert.command()
def stylegan(
    weights: Annotated[
        Path, typer.Argument(help="A state dict: .safetensors, or a .pt of plain tensors.")
    ],
    out: Annotated[Path, typer.Option(help="The generator file to be made, .safetensors.")],
    origin: Annotated[
        str | None, typer.Option(help="Where it comes from; default: the name of the file.")
    ] = None,
    rate: Annotated[
        float,
        typer.Option(help="The learning rate of its mapping relative to all else, in its code."),
    ] = 0.01,
    json: Json = False,
) -> None:
    """The generator of a StyleGAN2, for warm_start.weights of a recipe. No pickle is opened."""
    from d3data import convert as converting
    from d3data.utils.hashing import file_sha256

    made = converting.stylegan(weights, out=out, origin=origin, rate=rate)
    document = {"file": str(made), "sha256": file_sha256(made)}
    give(f"{made}, sha256 {document['sha256']}", document, as_json=json)


def _convert(function: str, options: dict[str, Any]) -> None:
    """Call `function` of `d3data.convert` with a command's options, which are called alike."""
    from d3data import convert as converting

    as_json = options.pop("json")
    made = getattr(converting, function)(**options)
    items = sum(part.items for part in made.manifest.content.parts)
    size = made.ledger.content_bytes
    text = f"{as_name(made.folder)}: {items:,} items, {size:,} bytes of manifest and parts"
    document = {"folder": str(made.folder), "items": items, "content_bytes": size}
    give(text, document, as_json=as_json)


def _listed(patterns: Sequence[str], option: str) -> list[str]:
    """Files by their paths, or by patterns, whose files are taken in order of name."""
    listed = []
    for pattern in patterns:
        path = Path(pattern)
        files = sorted(map(str, path.parent.glob(path.name))) if "*" in path.name else [pattern]
        if not files:
            raise typer.BadParameter(f"no file is called {pattern!r}", param_hint=option)
        listed += files
    return listed
