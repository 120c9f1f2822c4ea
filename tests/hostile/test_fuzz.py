"""Artifacts that chance has mutated: refused with an error of ours, or exactly the original.

The address space of the process is bounded while they are read, and so is its processor time.
`D3DATA_SOAK=1` tries 10,000 of each kind.
"""

import hashlib
import itertools
import json
import os
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import forging
import made
from bounds import MEMORY, bounded, tried
from d3data import artifact
from d3data.utils.canonical_json import MOST_BYTES, MOST_MARKS

EXAMPLES = 10_000 if os.environ.get("D3DATA_SOAK") else 60
SAMPLED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
FILES = ["d3data.json", *(f"parts/{n:03d}.safetensors" for n in range(3)), "golden.safetensors"]


def contents(folder: Path) -> str:
    """A digest of all that is read from an artifact."""
    read = artifact.read(folder)
    read.check()
    total = hashlib.sha256(read.manifest.encode())
    for number in range(len(read.manifest.content.parts)):
        for name, tensor in read.part(number).tensors.items():
            total.update(name.encode() + tensor.numpy().tobytes())
    return total.hexdigest()


@pytest.fixture(scope="module", params=["toys", "rounded"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "toys"
    made.GOLDEN[request.param](folder)
    artifact.read(folder).check()
    return folder


@pytest.fixture(scope="module")
def expected(original: Path) -> str:
    return contents(original)


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
@SAMPLED
def test_a_mutated_artifact_is_refused_or_the_original(
    original: Path, expected: str, data: st.DataObject
) -> None:
    path = original / data.draw(st.sampled_from(FILES))
    whole = path.read_bytes()
    try:
        path.write_bytes(mutated(data, whole))
        content, fault = tried(lambda: contents(original))
        assert fault.isprintable()
        assert fault or content == expected
    finally:
        path.write_bytes(whole)


@given(data=st.data())
@SAMPLED
def test_a_forger_who_knows_the_digests_gets_no_further(
    original: Path, data: st.DataObject
) -> None:
    page, part = original / "d3data.json", original / forging.PART
    pages, parts = page.read_bytes(), part.read_bytes()
    document, junk = json.loads(pages), st.sampled_from(forging.JUNK)
    header, tensors = forging.split(parts)
    try:
        if data.draw(st.booleans()):
            place = data.draw(st.sampled_from(forging.places(header)))
            forging.put(header, place, data.draw(junk))
        else:
            tensors = mutated(data, tensors)
        forging.put_part(original, forging.join(header, tensors))
        for _ in range(data.draw(st.integers(0, 2))):
            document = json.loads(page.read_bytes())
            block = data.draw(st.sampled_from(["content", "content", "about", "files"]))
            place = data.draw(st.sampled_from(forging.places(document[block], (block,))))
            forging.put(document, place, data.draw(junk))
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
@settings(SAMPLED, max_examples=EXAMPLES // 10)
def test_what_is_filled_to_the_brim_costs_little(original: Path, data: st.DataObject) -> None:
    page, part = original / "d3data.json", original / forging.PART
    pages, parts = page.read_bytes(), part.read_bytes()
    header, tensors = forging.split(parts)
    try:
        if data.draw(st.sampled_from([True, True, False])):
            document = json.loads(pages)
            forging.put(document, data.draw(st.sampled_from(forging.places(document))), "BRIM")
            text = json.dumps(document).replace('"BRIM"', brimful(data, MOST_BYTES - 20_000))
            page.write_text(text, encoding="utf-8")
        else:
            about = forging.about(header)
            forging.put(about, data.draw(st.sampled_from(forging.places(about))), "BRIM")
            text = json.dumps(about).replace('"BRIM"', brimful(data, 400_000))
            header["__metadata__"]["d3data"] = text
            forging.put_part(original, forging.join(header, tensors))
        _, fault = tried(lambda: artifact.read(original).sources())
        assert fault
        assert fault.isprintable()
        assert len(fault) < 2_500
    finally:
        page.write_bytes(pages)
        part.write_bytes(parts)


def test_the_bounds_hold() -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled in the main thread")
    with pytest.raises((MemoryError, RuntimeError)), bounded():
        torch.zeros(MEMORY).sum()
    with pytest.raises(TimeoutError), bounded(seconds=0.1):
        all(True for _ in itertools.count())
