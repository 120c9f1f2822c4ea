"""The command line: `d3data`. Results go to stdout, everything else to stderr."""

from d3data.cli.commands import app


def main() -> None:
    """Run the command that the arguments name."""
    app()


__all__ = ["app", "main"]
