"""Safetensors in exactly one spelling, read by somebody who trusts nobody.

Safetensors sorts tensors but writes several metadata keys in random order, so a file of ours has
exactly one: the same tensors give the same bytes on every machine. A header is compared with what
is expected before a tensor is read, and a file is read once, straight into its tensors. A header
that is spelt otherwise is refused, so that a digest changes only where something else does.
"""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import safetensors.torch
import torch
from torch import Tensor

from d3data.errors import FormatError, IntegrityError
from d3data.utils import canonical_json

KEY = "d3data"
MOST_HEADER = 1 << 20
MOST_DIMENSIONS, MOST_LENGTH = 8, 1 << 40  # of a tensor
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "U8": torch.uint8}
_ORDER = tuple(_DTYPES)  # in a file

Layout = Mapping[str, tuple[str, tuple[int, ...]]]  # dtype (F32, F16, U8) and shape, by name


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        about: its metadata.
        tensors: dtypes and shapes, by name, in the order of the file.
        size: its own bytes.
    """

    about: dict[str, Any]
    tensors: Layout
    size: int

    def bytes_of(self, name: str) -> int:
        """How many bytes the tensor `name` takes."""
        return bytes_of(*self.tensors[name])


def bytes_of(dtype: str, shape: tuple[int, ...]) -> int:
    """How many bytes a tensor takes.

    >>> bytes_of("F16", (3, 2))
    12
    """
    return _DTYPES[dtype].itemsize * math.prod(shape)


def encode(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """The bytes of a file that holds `tensors`, and `about` (JSON) as its one metadata value."""
    return safetensors.torch.save(
        dict(tensors), {KEY: canonical_json.encode(dict(about)).decode()}
    )


class File(Protocol):
    """So many bytes, to be read once from the beginning."""

    size: int

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` with the bytes that come next; fewer only at the end."""


class Memory:
    """A file that is at hand."""

    def __init__(self, content: bytes) -> None:
        self.size, self._file = len(content), io.BytesIO(content)

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, as `File` says."""
        return self._file.readinto(buffer)


def header(file: File, *, where: str) -> Header:
    """Read the header of a file found at `where`, and nothing behind it.

    Raises:
        FormatError: not safetensors, not with exactly one metadata key, ours, with tensors that
            overlap, leave holes or are not all of the file, or not as `encode` spells it.
    """
    length = int.from_bytes(_read(file, min(8, file.size)), "little")
    if file.size < 8 or length > min(file.size - 8, MOST_HEADER):
        raise FormatError(f"{where}: not a safetensors file, or cut short")
    spelling = _read(file, length)
    table = canonical_json.decode(spelling, where=f"{where}, its header")
    metadata = table.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.keys() != {KEY}:
        raise FormatError(f"{where}: its metadata must have exactly one key, {KEY!r}")
    text = str(metadata[KEY]).encode(errors="replace")
    about = canonical_json.decode(text, where=f"{where}, its metadata")
    tensors = {
        name: _entry(entry, f"{where}: the tensor {name[:80]!r}") for name, entry in table.items()
    }
    end = 0
    for name, entry in sorted(table.items(), key=lambda item: _offsets(item[1])):
        begin, end = end, end + bytes_of(*tensors[name])
        if _offsets(entry) != (begin, end):
            raise FormatError(
                f"{where}: the tensor {name[:80]!r} overlaps another, leaves a hole or has not "
                "the bytes of its shape"
            )
    if 8 + length + end != file.size:
        raise FormatError(f"{where}: {file.size} bytes, where its header tells {8 + length + end}")
    ordered = sorted(tensors, key=lambda name: _offsets(table[name]))
    found = Header(about, {name: tensors[name] for name in ordered}, 8 + length)
    if spelling != _spelling(found):
        raise FormatError(f"{where}: its header is not spelt as safetensors and RFC 8785 do")
    return found


def _spelling(header: Header) -> bytes:
    """The bytes of a header as `encode` writes it; none where it could not.

    It is JSON without spaces: metadata, then tensors in order of dtype, F32 to U8, and name.
    Spaces at its end make its length a multiple of 8.
    """
    table: dict[str, Any] = {}
    end = 0
    for name in sorted(header.tensors, key=lambda n: (_ORDER.index(header.tensors[n][0]), n)):
        begin, end = end, end + header.bytes_of(name)
        dtype, shape = header.tensors[name]
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": (begin, end)}
    try:
        table = {"__metadata__": {KEY: canonical_json.encode(header.about).decode()}, **table}
        text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    except ValueError:  # half a character, or a number that is not finite
        return b""
    return text + b" " * (-len(text) % 8)


def tensors(file: File, header: Header, expected: Layout, *, where: str) -> dict[str, Tensor]:
    """The tensors behind a header, which must be exactly the `expected` ones; or FormatError."""
    found = header.tensors
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise FormatError(
                f"{where}: the tensor {name[:80]!r} should be {_spell(expected.get(name))} "
                f"and is {_spell(found.get(name))}"
            )
    held = {}
    for name, (dtype, shape) in found.items():  # each in memory of its own, so that it is aligned
        held[name] = torch.empty(shape, dtype=_DTYPES[dtype])
        _fill(file, held[name].flatten().view(torch.uint8).numpy().data)
        require_finite({name: held[name]}, where=where)
    return held


def require_finite(tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Raise FormatError if a value is infinite or not a number."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            extremes = torch.stack(tensor.aminmax())  # either is nan where any value is
            if not extremes.isfinite().all():
                raise FormatError(f"{where}: the tensor {name!r} has values that are not finite")


def _read(file: File, size: int) -> bytes:
    content = bytearray(size)
    _fill(file, memoryview(content))
    return bytes(content)


def _fill(file: File, buffer: memoryview) -> None:
    at = 0
    while at < len(buffer):
        count = file.readinto(buffer[at:])
        if not count:
            raise IntegrityError("a file became shorter while it was read: read it again")
        at += count


def _entry(entry: Any, where: str) -> tuple[str, tuple[int, ...]]:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    lengths = shape if isinstance(shape, list) and len(shape) <= MOST_DIMENSIONS else [None]
    if not all(type(n) is int and 0 <= n <= MOST_LENGTH for n in lengths):
        raise FormatError(f"{where} has no shape: at most 8 whole numbers from 0 to 2^40")
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise FormatError(f"{where} is {str(dtype)[:20]!r}; format 1 has {', '.join(_DTYPES)}")
    return dtype, tuple(lengths)


def _offsets(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Where a tensor says that it begins and ends after the header; -1 where it does not."""
    offsets = entry.get("data_offsets")
    if not isinstance(offsets, list) or [type(n) for n in offsets] != [int, int]:
        return -1, -1
    return offsets[0], offsets[1]


def _spell(entry: tuple[str, tuple[int, ...]] | None) -> str:
    return "absent" if entry is None else f"{entry[0]} {list(entry[1])}"
