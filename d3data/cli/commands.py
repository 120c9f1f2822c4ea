"""The app: its commands, and what becomes of their errors.

Exit codes: 0, 1 failed, 2 wrong usage, 3 verification failed, 130 stopped by Ctrl-C.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from d3data.cli.audit import audit
from d3data.cli.cards import card, describe, preview
from d3data.cli.convert import convert
from d3data.cli.distill import distill, pretrain_generator, recipes, status
from d3data.cli.evaluation import compare, evaluate, protocols, report
from d3data.cli.export import bake, export, merge, quantize
from d3data.cli.hub import info, list_sets, publish, pull, verify
from d3data.cli.init import init
from d3data.cli.options import Json
from d3data.cli.output import give, say
from d3data.cli.studies import study
from d3data.errors import D3DataError, FormatError, IntegrityError
from d3data.utils.packages import naming_packages
from d3data.utils.text import table
from d3data.utils.version import __version__

PACKAGES = ("torch", "torchvision", "numpy", "safetensors", "pydantic", "typer")


class Group(TyperGroup):
    """Commands whose errors become a line on stderr and an exit code, unless --debug is given."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with naming_packages():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            say("stopped")
            raise typer.Exit(130) from None
        except D3DataError as failure:
            if ctx.params.get("debug"):
                raise
            say(f"error: {failure}")
            unsound = isinstance(failure, IntegrityError | FormatError)
            raise typer.Exit(3 if unsound else 1) from None


app: typer.Typer = typer.Typer(cls=Group, no_args_is_help=True, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def d3data(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Distilled image data sets: make them, look at them, evaluate them."""


def env(json: Json = False) -> None:
    """Show versions and devices, for a report of a fault."""
    import os
    import platform
    from importlib.metadata import version

    import torch

    from d3data.utils.device import cores, versions

    values = versions() | {
        **{package: version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "cores": cores(),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "D3DATA_DATA": os.environ.get("D3DATA_DATA"),
    }
    give(
        table(["what", "value"], [[key, str(values[key])] for key in values]), values, as_json=json
    )


app.command("list")(list_sets)
for command in (info, pull, verify, preview, card, describe, export, quantize, bake, merge, init,
                distill, pretrain_generator, status, evaluate, report, compare, study, protocols,
                audit, publish, env):  # fmt: skip
    app.command()(command)
app.add_typer(convert, name="convert")
app.add_typer(recipes, name="recipes")
