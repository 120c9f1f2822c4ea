"""A Hub with a set on it, which this process talks to."""

from pathlib import Path

import pytest

import hubs
from d3data.testing import LocalHub

hub, no_index, pixels, toys = hubs.hub, hubs.no_index, hubs.pixels, hubs.toys
drawn_once = hubs.drawn_once


@pytest.fixture
def commit(hub: LocalHub, toys: Path) -> str:
    """The commit of me/toys on the Hub, which is tagged v1.2.3."""
    return hubs.there(hub, toys)
