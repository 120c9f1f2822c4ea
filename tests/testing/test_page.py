"""What the page of the Hub for tests shows is run, and it names all that there is."""

import re
from pathlib import Path

import pytest

import d3data.testing
import hubs
import made
from d3data.testing.faults import Fault

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings(hubs.CLIENT_S_OWN)
def test_the_example(tmp_path: Path) -> None:
    made.write(tmp_path / "artifact", about=made.ABOUT.model_copy(update={"version": "1.0.0"}))
    (shown,) = re.findall("```python\n(.*?)```", PAGE, re.DOTALL)
    (name,) = re.findall("^def (test_[a-z_]+)", shown, re.MULTILINE)
    names: dict[str, object] = {}
    exec(compile(shown, "docs/testing.md", "exec"), names)
    test = names[name]
    assert callable(test)
    test(tmp_path)


@pytest.mark.parametrize("fault", [kind.__name__ for kind in Fault.__args__])
def test_every_fault_is_explained(fault: str) -> None:
    assert re.search(rf"`{fault}\(", PAGE)
    assert fault in d3data.testing.__all__
