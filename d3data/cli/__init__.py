"""The command line: `d3data`. Results go to stdout, everything else to stderr."""

import os
import sys

from d3data.errors import MissingPackageError
from d3data.utils.packages import naming_packages
from d3data.utils.process import PASSIVE, keep_freed_memory


def main() -> None:
    """Run the command that the arguments name."""
    os.environ.update(PASSIVE | os.environ)
    keep_freed_memory()
    try:
        with naming_packages():
            from d3data.cli.commands import app
    except MissingPackageError as failure:
        sys.exit(f"error: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
    app()


__all__ = ["main"]
