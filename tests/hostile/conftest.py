"""What the hostile tests share."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import made

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest artifact, which nobody changes."""
    return made.write(tmp_path_factory.mktemp("made") / "toys").folder


@pytest.fixture
def place(honest: Path, tmp_path: Path) -> Path:
    """A copy of it, to be forged."""
    return Path(shutil.copytree(honest, tmp_path / "toys"))


@pytest.fixture
def page(honest: Path) -> Any:
    """Its manifest as JSON values."""
    return json.loads((honest / "d3data.json").read_bytes())
