"""The app: its commands, and what becomes of their errors.

Exit codes: 0, 1 failed, 2 wrong usage, 3 verification failed, 130 stopped by Ctrl-C.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from d3data.cli import (
    audit,
    cards,
    convert,
    distill,
    env,
    evaluation,
    export,
    hub,
    list_info,
    quantize,
)
from d3data.cli.output import say
from d3data.errors import D3DataError, FormatError, IntegrityError
from d3data.utils.version import __version__


class Group(TyperGroup):
    """Commands whose errors become a line on stderr and an exit code, unless --debug is given."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
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


app = typer.Typer(cls=Group, no_args_is_help=True, pretty_exceptions_enable=False)


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


app.command("list")(list_info.list_sets)
app.command()(list_info.info)
app.command()(hub.pull)
app.command()(hub.verify)
app.command()(cards.preview)
app.command()(cards.card)
app.command()(export.export)
app.command()(quantize.quantize)
app.add_typer(convert.convert, name="convert")
app.command()(distill.init)
app.command()(distill.distill)
app.add_typer(distill.recipes, name="recipes")
app.command()(distill.status)
app.command()(evaluation.evaluate)
app.command()(evaluation.report)
app.command()(evaluation.compare)
app.command()(evaluation.protocols)
app.command()(audit.audit)
app.command()(hub.publish)
app.command()(env.env)
