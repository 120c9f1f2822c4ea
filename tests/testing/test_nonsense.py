"""What a Hub for tests is told wrongly, it says at once."""

from pathlib import Path
from typing import Any

import pytest

from d3data.errors import D3DataError
from d3data.testing import Answer, Cut, Delay, Flip, LocalHub


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("users", ()),
        ("users", ("me",)),
        ("anonymous", "none"),
        ("large_above", "1MB"),
        ("large_above", -1),
        ("part_bytes", 0),
        ("page", 0),
        ("page", None),
    ],
)
def test_knobs_have_limits(knob: str, value: Any) -> None:
    with pytest.raises(D3DataError, match=f"^{knob}( must be an integer|=)"):
        LocalHub(**{knob: value})


@pytest.mark.parametrize(
    ("fault", "words", "name"),
    [
        (Answer, {"status": 99}, "status"),
        (Answer, {"status": "503"}, "status"),
        (Cut, {"after": -1}, "after"),
        (Flip, {"at": -1}, "at"),
        (Flip, {"bits": 0}, "bits"),
        (Delay, {"seconds": -1}, "seconds"),
        (Delay, {"seconds": float("nan")}, "seconds"),
        (Delay, {"seconds": "1"}, "seconds"),
    ],
)
def test_faults_have_limits(fault: Any, words: dict[str, Any], name: str) -> None:
    with pytest.raises(D3DataError, match=f"^{name}( must be an integer|=)"):
        fault(**words)


@pytest.mark.parametrize(
    ("fault", "words", "said"),
    [
        ("503", {}, "fault='503'"),
        (Answer, {}, "fault="),
        (Answer(503), {"path": 7}, "path=7"),
        (Answer(503), {"method": None}, "method=None"),
        (Answer(503), {"skip": -1}, "skip must be an integer .*got -1"),
        (Answer(503), {"times": 0}, "times must be an integer .*got 0"),
    ],
)
def test_rules_have_limits(fault: Any, words: dict[str, Any], said: str) -> None:
    with pytest.raises(D3DataError, match=said):
        LocalHub().faults.add(fault, **words)


def test_contents_are_bytes() -> None:
    with LocalHub() as hub:
        bad: Any = {"a.txt": "text"}
        with pytest.raises(D3DataError, match=r"a\.txt: the content of a file is bytes"):
            hub.create("me/x", bad)
        hub.create("me/x", {"a.txt": b"text"})
        with pytest.raises(D3DataError, match=r"a\.txt: the content of a file is bytes"):
            hub.commit("me/x", bad)
        hub.commit("me/x", {"a.txt": None})


def test_a_hub_is_started_once_and_then_has_an_address(tmp_path: Path) -> None:
    hub = LocalHub()
    for look in (lambda: hub.endpoint, lambda: hub.environment(tmp_path)):
        with pytest.raises(D3DataError, match="has no address yet"):
            look()
    with hub:
        with pytest.raises(D3DataError, match="is running"):
            hub.start()
        address = hub.endpoint
    with hub:
        assert hub.endpoint == address
