"""Names that a shell completes, read from their files, so that a Tab key loads no torch.

`d3data --install-completion` sets it up.
"""

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def sets(incomplete: str) -> list[str]:
    """The short names of the index that comes with d3data."""
    page = json.loads((ROOT / "hub" / "index.json").read_text(encoding="utf-8"))
    return _beginning(page["sets"], incomplete)


def recipes(incomplete: str) -> list[str]:
    """The recipes that come with d3data."""
    return _beginning((path.stem for path in ROOT.glob("distill/recipes/*.toml")), incomplete)


def protocols(incomplete: str) -> list[str]:
    """The protocols that come with d3data."""
    page = tomllib.loads((ROOT / "evaluation" / "protocols.toml").read_text(encoding="utf-8"))
    return _beginning(page, incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
