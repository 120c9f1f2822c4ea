"""What tests of commands share."""

import pytest

from d3data.distill import forecast, suggest


@pytest.fixture(autouse=True)
def timed(monkeypatch):
    """Processes start in a second and steps take ten milliseconds: `init` times neither anew."""
    monkeypatch.setattr(suggest, "start_seconds", lambda: 1.0)
    monkeypatch.setattr(forecast, "timed", lambda work, turns, steps: 0.01)
