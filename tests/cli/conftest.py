"""What tests of commands share."""

import pytest

from d3data.distill import suggest


@pytest.fixture(autouse=True)
def started(monkeypatch):
    """Processes start in a second, which is not measured anew by every `init`."""
    monkeypatch.setattr(suggest, "start_seconds", lambda: 1.0)
