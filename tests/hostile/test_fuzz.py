"""Artifacts that chance has mutated: refused with an error of ours, or exactly the original.

The address space of the process is bounded while they are read, and so is the time.
`D3DATA_SOAK=1` tries 10,000 of each kind.
"""

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import forging
import made
from bounds import MEMORY, bounded, tried
from d3data import artifact
from d3data.utils.canonical_json import MOST_BYTES, MOST_MARKS

EXAMPLES = 10_000 if os.environ.get("D3DATA_SOAK") else 150
FILES = ["d3data.json", *(f"parts/{n:03d}.safetensors" for n in range(3)), "golden.safetensors"]


def contents(folder: Path) -> str:
    """A digest of all that is read from an artifact."""
    found = artifact.read(folder)
    found.check()
    total = hashlib.sha256(found.manifest.encode())
    for number in range(len(found.manifest.content.parts)):
        for name, tensor in found.part(number).tensors.items():
            total.update(name.encode() + tensor.numpy().tobytes())
    return total.hexdigest()


@pytest.fixture(scope="module", params=["toys", "rounded"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "toys"
    made.GOLDEN[request.param](folder)
    artifact.read(folder).check()
    return folder


def mutated(data: st.DataObject, content: bytes) -> bytes:
    """One to three changes: bits, pieces cut out, doubled, overwritten or put in."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(changed) - 1)))
        length = data.draw(st.sampled_from([1, 2, 8, 100]))
        match data.draw(st.sampled_from(["bit", "cut", "double", "zero", "noise", "end"])):
            case "bit" if changed:
                changed[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del changed[at : at + length]
            case "double":
                changed[at:at] = changed[at : at + length]
            case "zero":
                changed[at : at + length] = bytes(length)
            case "noise":
                changed[at : at + length] = data.draw(st.binary(min_size=1, max_size=length))
            case "end":
                del changed[at:]
    return bytes(changed)


@given(data=st.data())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_a_mutated_artifact_is_refused_or_the_original(
    original: Path, data: st.DataObject
) -> None:
    path = original / data.draw(st.sampled_from(FILES))
    whole, wanted = path.read_bytes(), contents(original)
    try:
        path.write_bytes(mutated(data, whole))
        found, fault = tried(lambda: contents(original))
        assert fault.isprintable()
        assert fault or found == wanted
    finally:
        path.write_bytes(whole)


JUNK: list[Any] = [
    *(None, True, -1, 0, 1, 3, 255, 1 << 20, 2**31, 2**53 - 1, 1e300, 0.5),
    *("", "x" * 5000, "../x", "/etc/passwd", "\n", "float16", "int2", "gaussian", "pixels"),
    *([], {}, [[]], [0], [1 << 40] * 3, {"kind": "gaussian"}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    deeper = [places(v, (*path, k)) for k, v in inner if isinstance(v, dict | list)]
    own = [(*path, k) for k, _ in (value.items() if isinstance(value, dict) else enumerate(value))]
    return own + [place for found in deeper for place in found]


def put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for step in path[:-1]:
        document = document[step]
    document[path[-1]] = value


@given(data=st.data())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_a_forger_who_knows_the_digests_gets_no_further(
    original: Path, data: st.DataObject
) -> None:
    page, part = original / "d3data.json", original / forging.PART
    pages, parts = page.read_bytes(), part.read_bytes()
    document, junk = json.loads(pages), st.sampled_from(JUNK)
    header, tensors = forging.split(parts)
    try:
        if data.draw(st.booleans()):
            place = data.draw(st.sampled_from(places(header)))
            put(header, place, data.draw(junk))
        else:
            tensors = mutated(data, tensors)
        forging.put(original, forging.join(header, tensors))
        for _ in range(data.draw(st.integers(0, 2))):
            document = json.loads(page.read_bytes())
            block = data.draw(st.sampled_from(["content", "content", "about", "files"]))
            place = data.draw(st.sampled_from(places(document[block], (block,))))
            put(document, place, data.draw(junk))
            forging.seal(original, document)
        sources, fault = tried(lambda: artifact.read(original).sources())
        assert fault.isprintable()
        assert len(fault) < 2_500
        for source in sources or []:
            assert all(torch.isfinite(p).all() for p in source.parameters())
    finally:
        page.write_bytes(pages)
        part.write_bytes(parts)


UNITS = ["0", "-1", '"a"', '""', "[]", "{}", '{"a":{}}', "[0]", "1e999", '"\\ud800"', "9" * 15]


def brimful(data: st.DataObject, bytes_left: int) -> str:
    """A list, a table, a text or a number that takes all the bytes or marks that a page may."""
    unit = data.draw(st.sampled_from(UNITS))
    marks = 1 + unit.count("{") + unit.count("[")
    count = min(bytes_left // (len(unit) + 1), (MOST_MARKS - 1_000) // marks)
    match data.draw(st.sampled_from(["list", "table", "text", "number", "deep"])):
        case "list":
            return "[" + ",".join([unit] * count) + "]"
        case "table":
            count = min(bytes_left // (len(unit) + 11), (MOST_MARKS - 1_000) // marks)
            return "{" + ",".join(f'"k{n:06d}":{unit}' for n in range(count)) + "}"
        case "text":
            return json.dumps(data.draw(st.sampled_from(["a", ",", "\u00e9"])) * (bytes_left // 6))
        case "number":
            return "9" * bytes_left
        case _:
            half = min(bytes_left // 2, MOST_MARKS - 1_000)
            return "[" * half + "]" * half


@given(data=st.data())
@settings(
    max_examples=EXAMPLES // 10,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_what_is_filled_to_the_brim_costs_little(original: Path, data: st.DataObject) -> None:
    page, part = original / "d3data.json", original / forging.PART
    pages, parts = page.read_bytes(), part.read_bytes()
    header, tensors = forging.split(parts)
    try:
        if data.draw(st.sampled_from([True, True, False])):
            document = json.loads(pages)
            put(document, data.draw(st.sampled_from(places(document))), "BRIM")
            text = json.dumps(document).replace('"BRIM"', brimful(data, MOST_BYTES - 20_000))
            page.write_text(text, encoding="utf-8")
        else:
            about = forging.about(header)
            put(about, data.draw(st.sampled_from(places(about))), "BRIM")
            text = json.dumps(about).replace('"BRIM"', brimful(data, 400_000))
            header["__metadata__"]["d3data"] = text
            forging.put(original, forging.join(header, tensors))
        _, fault = tried(lambda: artifact.read(original).sources())
        assert fault
        assert fault.isprintable()
        assert len(fault) < 2_500
    finally:
        page.write_bytes(pages)
        part.write_bytes(parts)


def test_the_bounds_hold() -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("alarms ring in the main thread")
    with pytest.raises((MemoryError, RuntimeError)), bounded():
        torch.zeros(MEMORY).sum()
