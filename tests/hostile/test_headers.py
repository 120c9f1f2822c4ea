"""Parts whose header lies, in an artifact whose digests are all right."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import forging
from d3data import artifact
from d3data.errors import FormatError
from d3data.utils import canonical_json

Header = dict[str, Any]


def edited(change: Callable[[Header], object]) -> Callable[[bytes], bytes]:
    def forge(content: bytes) -> bytes:
        header, tensors = forging.split(content)
        change(header)
        return forging.join(header, tensors)

    return forge


def at(name: str, **changed: Any) -> Callable[[bytes], bytes]:
    return edited(lambda header: header[name].update(changed))


def about(**changed: Any) -> Callable[[bytes], bytes]:
    """Other classes or items in the metadata."""

    def change(header: Header) -> None:
        text = canonical_json.encode(forging.about(header) | changed)
        header["__metadata__"]["d3data"] = text.decode()

    return edited(change)


def repeated(content: bytes) -> bytes:
    """A header that names a tensor twice."""
    header, tensors = forging.split(content)
    entry = json.dumps({"mean": header["mean"]})[1:-1]
    return forging.join(f"{{{entry},".encode() + json.dumps(header).encode()[1:], tensors)


def longer(content: bytes) -> bytes:
    """An empty tensor behind all others."""
    header, tensors = forging.split(content)
    header["zero"] = {"dtype": "F32", "shape": [0], "data_offsets": [len(tensors)] * 2}
    return forging.join(header, tensors)


def renamed(content: bytes) -> bytes:
    header, tensors = forging.split(content)
    named = {"nean" if name == "mean" else name: entry for name, entry in header.items()}
    return forging.join(named, tensors)


def backwards(content: bytes) -> bytes:
    """The same tensors, named in the reverse order."""
    header, tensors = forging.split(content)
    return forging.join(dict(reversed(header.items())), tensors)


def shuffled(content: bytes) -> bytes:
    """The same tensors, the last one first in the file."""
    header, tensors = forging.split(content)
    begin, end = header["step_size"]["data_offsets"]
    assert end == len(tensors)
    for name in header.keys() - {"__metadata__", "step_size"}:
        header[name]["data_offsets"] = [at + end - begin for at in header[name]["data_offsets"]]
    header["step_size"]["data_offsets"] = [0, end - begin]
    return forging.join(header, tensors[begin:] + tensors[:begin])


def spaced(content: bytes) -> bytes:
    """Eight spaces more after the header."""
    header, tensors = forging.split(content)
    return forging.join(json.dumps(header, separators=(",", ":")).encode() + b" " * 16, tensors)


def claiming(length: int) -> Callable[[bytes], bytes]:
    return lambda content: length.to_bytes(8, "little") + content[8:]


FORGERIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda content: b"", "cannot have 0 bytes"),
    "seven bytes": (lambda content: content[:7], "cannot have 7 bytes"),
    "header longer than file": (claiming(1 << 40), "not a safetensors file"),
    "header of all bits": (claiming((1 << 64) - 1), "not a safetensors file"),
    "header of 2 MB": (
        lambda content: forging.join(b" " * (2 << 20) + b"{}", b""),
        "cannot have 2097162 bytes",
    ),
    "header cut short": (claiming(40), "not JSON"),
    "header no JSON": (lambda content: forging.join(b"\x80\x04pickle", content), "not JSON"),
    "header a list": (lambda content: forging.join(b"[]", content), "not a JSON object"),
    "header deep": (lambda c: forging.join(b'{"a":' * 9999 + b"1" + b"}" * 9999, b""), "deeper"),
    "a tensor twice": (repeated, "'mean' comes twice"),
    "no metadata": (edited(lambda h: h.pop("__metadata__")), "exactly one key"),
    "two metadata keys": (edited(lambda h: h["__metadata__"].update(x="y")), "exactly one key"),
    "another metadata key": (edited(lambda h: h.update(__metadata__={"pt": "{}"})), "exactly one"),
    "metadata no JSON": (edited(lambda h: h.update(__metadata__={"d3data": "x"})), "not JSON"),
    "metadata a number": (edited(lambda h: h.update(__metadata__={"d3data": 1})), "not a JSON"),
    "metadata half a character": (
        edited(lambda h: h.update(__metadata__={"d3data": "\ud800"})),
        "not JSON",
    ),
    "an unknown word in the metadata": (about(color=1), "unknown key 'color'"),
    "items beyond all bounds": (about(items_per_class=[2, 1 << 50]), "items_per_class"),
    "two items of 1e999": (
        edited(
            lambda h: h["__metadata__"].update(d3data='{"classes":[0],"items_per_class":[1e999]}')
        ),
        "spelt",
    ),
    "named backwards": (backwards, "not spelt as safetensors"),
    "stored in another order": (shuffled, "not spelt as safetensors"),
    "more spaces": (spaced, "not spelt as safetensors"),
    "spaces in the metadata": (
        edited(lambda h: h["__metadata__"].update(d3data=json.dumps(forging.about(h)))),
        "not spelt as safetensors",
    ),
    "no items": (about(items_per_class=[5, 0]), "items_per_class"),
    "classes in disorder": (about(classes=[2, 0]), "ascend"),
    "others' classes": (about(classes=[0, 3]), "other classes or items than its manifest says"),
    "others' items": (about(items_per_class=[1, 4]), "other classes or items"),
    "more items": (about(items_per_class=[2, 4]), r"'mean' should be F32 \[6, 5\]"),
    "a tensor more": (longer, "'zero' should be absent"),
    "a tensor less": (edited(lambda h: h.pop("mean")), "leaves a hole"),
    "a tensor of another name": (renamed, "'mean' should be F32"),
    "float64": (at("mean", dtype="F64"), "is 'F64'"),
    "dtype a list": (at("mean", dtype=[]), r"is '\[\]'"),
    "dtype a table": (at("mean", dtype={}), "is '{}'"),
    "no dtype": (at("mean", dtype=None), "is 'None'"),
    "bytes": (at("mean", dtype="U8"), "not the bytes of its shape"),
    "as many bytes of another kind": (at("step_size", dtype="F16", shape=[2]), "should be F32"),
    "turned round": (at("mean", shape=[5, 5, 1]), "should be F32"),
    "nine dimensions": (at("mean", shape=[5, 5, *[1] * 7]), "has no shape: at most 8"),
    "longer than all files": (at("mean", shape=[0, (1 << 40) + 1]), "has no shape: at most 8"),
    "numbers beyond all bounds": (at("mean", shape=[(10**4300 - 4) // 4]), "beyond 2.53"),
    "negative": (at("mean", shape=[-5, -5]), "has no shape"),
    "fractional": (at("mean", shape=[5.0, 5]), "has no shape"),
    "shape a word": (at("mean", shape="5x5"), "has no shape"),
    "no shape": (edited(lambda h: h["mean"].pop("shape")), "has no shape"),
    "entry a number": (edited(lambda h: h.update(mean=3)), "has no shape"),
    "overlapping": (
        edited(lambda h: h["mean"].update(data_offsets=h["std"]["data_offsets"])),
        "overlaps another",
    ),
    "beyond the end": (at("mean", data_offsets=[1 << 40, (1 << 40) + 100]), "leaves a hole"),
    "offsets backwards": (at("mean", data_offsets=[100, 0]), "overlaps another"),
    "no offsets": (edited(lambda h: h["mean"].pop("data_offsets")), "overlaps another"),
    "an empty step size": (
        edited(lambda h: h["step_size"].update(shape=[0])),
        "not the bytes of its shape",
    ),
    "a step size of no dimension": (at("step_size", shape=[]), r"should be F32 \[1\]"),
    "offsets of halves": (at("mean", data_offsets=[0.0, 100.0]), "overlaps another"),
    "three offsets": (at("mean", data_offsets=[0, 100, 200]), "overlaps another"),
    "bytes at the end": (lambda content: content + b"\0", "where its header tells"),
    "bytes missing": (lambda content: content[:-4], "where its header tells"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_header_is_refused_before_a_tensor_is_read(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge, fault = FORGERIES[name]
    forging.put_part(place, forge((place / forging.PART).read_bytes()))
    if not fault.startswith("other classes"):
        monkeypatch.setattr(torch, "empty", lambda *shape, **kind: pytest.fail("it was read"))
    with pytest.raises(FormatError, match=fault) as caught:
        artifact.read(place).sources()
    assert forging.PART in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_forger_would_succeed_with_an_honest_part(place: Path) -> None:
    honest = (place / forging.PART).read_bytes()
    forging.put_part(place, forging.join(*forging.split(honest)))
    artifact.read(place).sources()
