"""What a Hub for tests is told wrongly, it says at once; its page names all that there is."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import d3data.testing
import hubs
import made
from d3data.errors import D3DataError
from d3data.testing import Answer, Cut, Delay, Flip, LocalHub, User
from d3data.testing.faults import Fault

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LocalHub(users=()), "^users"),
        (lambda: LocalHub(users=("me",)), "^users"),
        (lambda: LocalHub(anonymous="none"), "^anonymous"),
        (lambda: LocalHub(large_above="1MB"), "^large_above"),
        (lambda: LocalHub(large_above=-1), "^large_above"),
        (lambda: LocalHub(part_bytes=0), "^part_bytes"),
        (lambda: LocalHub(page=0), "^page"),
        (lambda: LocalHub(page=None), "^page"),
        (lambda: Answer(99), "^status"),
        (lambda: Answer("503"), "^status"),
        (lambda: Cut(-1), "^after"),
        (lambda: Flip(-1), "^at"),
        (lambda: Flip(bits=0), "^bits"),
        (lambda: Flip(bits=256), "^bits"),
        (lambda: Flip(bits=True), "^bits"),
        (lambda: Delay(-1), "^seconds"),
        (lambda: Delay(float("nan")), "^seconds"),
        (lambda: Delay("1"), "^seconds"),
        (lambda: LocalHub().faults.add("503"), "fault must be .* got '503'"),
        (lambda: LocalHub().faults.add(Answer), "fault must be"),
        (lambda: LocalHub().faults.add(Answer(503), path=7), "path must be str"),
        (lambda: LocalHub().environment("x", user="me"), "user='me' is unknown.*User of me"),
        (lambda: LocalHub().using("x", user=User("you", "hf_you")), "unknown to this Hub"),
        (lambda: LocalHub().environment("x", user=None), "user=None is unknown"),
        (lambda: LocalHub().faults.add(Answer(503), method=None), "method and path must be str"),
        (lambda: LocalHub().faults.add(Answer(503), skip=-1), "skip"),
        (lambda: LocalHub().faults.add(Answer(503), times=0), "times"),
        (
            lambda: LocalHub().create("me/x", {"a.txt": "x"}),
            r"a\.txt: the content .* must be bytes",
        ),
        (lambda: LocalHub().endpoint, "has no address yet"),
        (lambda: LocalHub().environment("home"), "has no address yet"),
    ],
)
def test_arguments_have_limits(make: Callable[[], object], message: str) -> None:
    with pytest.raises(D3DataError, match=message):
        make()


def test_contents_that_are_committed_are_bytes() -> None:
    hub = LocalHub()
    hub.create("me/x", {"a.txt": b"text"})
    with pytest.raises(D3DataError, match=r"a\.txt: the content of a file must be bytes"):
        hub.commit("me/x", {"a.txt": "text"})
    hub.commit("me/x", {"a.txt": None})


def test_a_hub_is_started_once_and_keeps_its_address() -> None:
    with LocalHub() as hub:
        with pytest.raises(D3DataError, match="is running"):
            hub.start()
        address = hub.endpoint
    with hub:
        assert hub.endpoint == address


@pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
def test_the_example_of_the_page(tmp_path: Path) -> None:
    made.write(tmp_path / "artifact", about=made.ABOUT.model_copy(update={"version": "1.0.0"}))
    (shown,) = re.findall("```python\n(.*?)```", PAGE, re.DOTALL)
    (name,) = re.findall("^def (test_[a-z_]+)", shown, re.MULTILINE)
    names: dict[str, object] = {}
    exec(compile(shown, "docs/testing.md", "exec"), names)
    test = names[name]
    assert callable(test)
    test(tmp_path)


def test_every_fault_is_explained() -> None:
    for fault in (kind.__name__ for kind in Fault.__args__):
        assert re.search(rf"`{fault}\(", PAGE)
        assert fault in d3data.testing.__all__
