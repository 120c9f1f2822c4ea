"""Safetensors in exactly one spelling, read from memory by somebody who trusts nobody.

Safetensors sorts tensors but writes several metadata keys in random order, so a file of ours has
exactly one: the same tensors give the same bytes on every machine. A header is compared with what
is expected before a tensor is read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from d3data import canonical
from d3data.errors import FormatError

KEY = "d3data"
MOST_HEADER = 1 << 20
_BYTES = {"F32": 4, "U8": 1}

Layout = Mapping[str, tuple[str, tuple[int, ...]]]  # dtype (F32, U8) and shape, by name


@dataclass(frozen=True)
class Header:
    """What a file says of itself: `about`, its metadata; `tensors`; `size`, its own bytes."""

    about: dict[str, Any]
    tensors: Layout
    size: int

    def bytes_of(self, name: str) -> int:
        """How many bytes the tensor `name` takes."""
        dtype, shape = self.tensors[name]
        return _BYTES[dtype] * math.prod(shape)


def encode(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """The bytes of a file that holds `tensors`, and `about` (JSON) as its one metadata value."""
    return safetensors.torch.save(dict(tensors), {KEY: canonical.encode(dict(about)).decode()})


def header(content: bytes, *, where: str) -> Header:
    """Read the header of a file that begins with `content`, found at `where`.

    Raises:
        FormatError: not safetensors, or not with exactly one metadata key, ours.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(len(content) - 8, MOST_HEADER):
        raise FormatError(f"{where}: not a safetensors file, or cut short")
    table = canonical.decode(content[8 : 8 + length], where=f"{where}, its header")
    metadata = table.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.keys() != {KEY}:
        raise FormatError(f"{where}: its metadata must have exactly one key, {KEY!r}")
    text = str(metadata[KEY]).encode(errors="replace")
    about = canonical.decode(text, where=f"{where}, its metadata")
    tensors = {
        name: _entry(entry, f"{where}: the tensor {name[:80]!r}") for name, entry in table.items()
    }
    return Header(about, tensors, 8 + length)


def decode(content: bytes, expected: Layout, *, where: str) -> dict[str, Tensor]:
    """The tensors of a file found at `where`, which must be exactly the `expected` ones.

    Raises:
        FormatError: another name, shape or dtype, a malformed file, or a value that is not finite.
    """
    found = header(content, where=where).tensors
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise FormatError(
                f"{where}: the tensor {name[:80]!r} should be {_spell(expected.get(name))} "
                f"and is {_spell(found.get(name))}"
            )
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except safetensors.SafetensorError as fault:
        raise FormatError(f"{where}: not a well-formed safetensors file: {fault}") from None
    require_finite(tensors, where=where)
    return tensors


def require_finite(tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Raise FormatError if a value is infinite or not a number."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise FormatError(f"{where}: the tensor {name!r} has values that are not finite")


def _entry(entry: Any, where: str) -> tuple[str, tuple[int, ...]]:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise FormatError(f"{where} has no shape")
    dtype = entry.get("dtype")
    if dtype not in _BYTES:
        raise FormatError(f"{where} is {str(dtype)[:20]!r}; format 1 has {' and '.join(_BYTES)}")
    return dtype, tuple(shape)


def _spell(entry: tuple[str, tuple[int, ...]] | None) -> str:
    return "absent" if entry is None else f"{entry[0]} {list(entry[1])}"
