"""Manifests that were mangled by chance: each is refused with an error of ours, or is the same."""

import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

import forging
from bounds import tried
from d3data import artifact
from d3data.artifact import manifest
from d3data.errors import ArtifactError
from d3data.utils.canonical_json import MOST_BYTES, MOST_MARKS

SOAKING = bool(os.environ.get("D3DATA_SOAK"))


def mangled(page: dict[str, Any], path: tuple[Any, ...], junk: Any) -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(page))
    forging.put(copied, path, junk)
    return copied


def test_junk_anywhere_is_refused_or_harmless(page: Any, place: Path) -> None:
    rng, faults = random.Random(0), []
    for path in forging.places({"about": page["about"], "content": page["content"]}):
        for junk in rng.sample(forging.JUNK, 12 if SOAKING else 2):
            forging.seal(place, mangled(page, path, junk))
            try:
                artifact.read(place).sources()
            except ArtifactError as fault:
                faults.append(str(fault))
    assert len(faults) > 100
    assert not [fault for fault in faults if "\n" in fault or len(fault) > 2500]


def test_junk_bytes_are_refused(honest: Path) -> None:
    page = (honest / "d3data.json").read_bytes()
    rng = random.Random(1)
    for _ in range(3000 if SOAKING else 150):
        start = rng.randrange(len(page))
        cut = rng.choice([page[:start], page[:start] + page[start + rng.randrange(1, 9) :]])
        with pytest.raises(ArtifactError):
            manifest.parse(cut + rng.randbytes(rng.randrange(3)), where="here")


@pytest.mark.parametrize("where", ["about", "content", "content.image", "files.0", "about.method"])
def test_a_key_that_comes_twice_is_refused(where: str, page: Any) -> None:
    at: Any = page
    for step in where.split("."):
        at = at[int(step)] if isinstance(at, list) else at[step]
    key, value = next(iter(at.items()))
    at["zzz"] = "TWICE"
    text = json.dumps(page).replace('"zzz": "TWICE"', f"{json.dumps(key)}: {json.dumps(value)}")
    with pytest.raises(ArtifactError, match=f"'{key}' comes twice"):
        manifest.parse(text.encode(), where="here")


@pytest.mark.parametrize("deep", [17, 1_000, 100_000])
@pytest.mark.parametrize("path", [("about", "name"), ("content", "classes", 0), ("files",)])
def test_deep_nesting_is_refused(deep: int, path: tuple[Any, ...], page: Any) -> None:
    page = mangled(page, path, "DEEP")
    for opens, closes in ("[]", ('{"a":', "}")):
        value = opens * deep + "0" + closes * deep
        text = json.dumps(page).replace('"DEEP"', value)
        with pytest.raises(ArtifactError, match="deeper than 16"):
            manifest.parse(text.encode(), where="here")


def filled(page: dict[str, Any], path: tuple[Any, ...], unit: str, marks: int) -> bytes:
    """The page with a list of as many units as a reader takes."""
    text = json.dumps(mangled(page, path, "FILLED"), separators=(",", ":"))
    room = min((MOST_BYTES - len(text)) // (len(unit) + 1), (MOST_MARKS - 500) // marks)
    return text.replace('"FILLED"', "[" + ",".join([unit] * room) + "]").encode()


@pytest.mark.parametrize("unit", ["[]", "{}", '{"a":{}}'])
def test_a_page_of_small_values_costs_little(unit: str) -> None:
    count = (MOST_BYTES - 100) // (len(unit) + 1)
    text = ('{"content":{"format":1},"x":[' + ",".join([unit] * count) + "]}").encode()
    _, fault = tried(lambda: manifest.parse(text, where="here"))
    assert "commas and opening brackets" in fault


LISTS: list[tuple[Any, ...]] = [
    ("content", "classes"),
    ("content", "parts"),
    ("content", "image", "mean"),
    ("content", "parts", 0, "classes"),
    ("content", "parts", 0, "items_per_class"),
    ("about", "provenance", "seeds"),
    ("files",),
]


UNITS = [("0", 1), ("-1", 1), ('""', 1), ('"a"', 1), ("{}", 2), ("[]", 2), ('{"a":{}}', 3)]
FILLED = [*itertools.product(LISTS, UNITS)] if SOAKING else [*zip(LISTS, UNITS, strict=True)]


@pytest.mark.parametrize(("path", "unit"), FILLED)
def test_a_list_as_long_as_a_page_costs_little(
    path: tuple[Any, ...], unit: tuple[str, int], page: Any
) -> None:
    text = filled(page, path, *unit)
    _, fault = tried(lambda: manifest.parse(text, where="here"))
    assert fault.startswith("here: ")
    assert len(fault) < 2_100


@pytest.mark.parametrize("path", [("zzz",), ("content", "image"), ("about", "provenance")])
def test_a_table_as_long_as_a_page_costs_little(path: tuple[Any, ...], page: Any) -> None:
    for count in (9_990, 250_000):
        junk = {f"k{number}": 0 for number in range(count)}
        text = json.dumps(mangled(page, path, junk)).encode()
        _, fault = tried(lambda text=text: manifest.parse(text, where="here"))
        assert fault.startswith("here: ")
        assert len(fault) < 2_100


def test_one_text_as_long_as_a_page_costs_little(page: Any) -> None:
    long = "\u00e9" * 600_000
    for path in (("about", "name"), ("content", "classes", 0), ("content", "source", "kind")):
        text = json.dumps(mangled(page, path, long)).encode()
        _, fault = tried(lambda text=text: manifest.parse(text, where="here"))
        assert 0 < len(fault) < 2_100
    text = json.dumps({**page, "ab" * 2_090_000: 1}).encode()
    _, fault = tried(lambda: manifest.parse(text, where="here"))
    assert "unknown key" in fault
    assert len(fault) < 2_100
