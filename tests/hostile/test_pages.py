"""Manifests that were mangled by chance: each is refused with an error of ours, or is the same."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

import forging
import made
from d3data import artifact, manifest
from d3data.errors import ArtifactError

JUNK: list[Any] = [None, -1, 0, 1e300, 2**53 - 1, "", "x" * 2000, [], {}, [[]], True, "../x", "\n"]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within a page."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, v in inner for place in places(v, (*path, key)))]


def mangled(page: dict[str, Any], path: tuple[Any, ...], junk: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(page))
    at: Any = copy
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = junk
    return copy


def test_junk_anywhere_is_refused_or_harmless(tmp_path: Path) -> None:
    made.write(tmp_path / "toys")
    page = json.loads((tmp_path / "toys" / "d3data.json").read_bytes())
    rng, faults = random.Random(0), []
    for path in places({"about": page["about"], "content": page["content"]})[1:]:
        for junk in rng.sample(JUNK, 4):
            forging.seal(tmp_path / "toys", mangled(page, path, junk))
            try:
                artifact.read(tmp_path / "toys").sources()
            except ArtifactError as fault:
                faults.append(str(fault))
    assert len(faults) > 150
    assert not [fault for fault in faults if "\n" in fault or len(fault) > 3000]


def test_junk_bytes_are_refused(tmp_path: Path) -> None:
    page = made.write(tmp_path / "toys").manifest.encode()
    rng = random.Random(1)
    for _ in range(300):
        start = rng.randrange(len(page))
        cut = rng.choice([page[:start], page[:start] + page[start + rng.randrange(1, 9) :]])
        with pytest.raises(ArtifactError):
            manifest.parse(cut + rng.randbytes(rng.randrange(3)), where="here")
