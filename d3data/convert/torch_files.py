"""Tensors from other people's `.pt` files; the one module that calls `torch.load`.

A `.pt` file is a zip archive with a pickle, which is a program. `torch.load(weights_only=True)`
refuses most of what such a program may do. Checked beside it, since it does not refuse them:
calls that allocate memory (`bytearray`), tuples nested so that hashing one takes hours,
compressed archives, and tensors larger than the bytes that the file has. Values are mapped from
the file, not copied.
"""

import pickletools
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d3data.errors import FormatError
from d3data.utils.text import brief, printable, some

MOST_PROGRAM = 1 << 20  # bytes of the pickle
MOST_REUSED = 8  # uses of tuples that were used before; each can double what hashing one takes
AGAIN = "; nothing in it was run. Download it again, or ask its author for a file of plain tensors"
CALLS = frozenset(
    {
        "_codecs encode",
        "collections OrderedDict",
        "torch Size",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v2",
    }
)
STORAGES = re.compile(r"torch (Double|Float|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage")
PUTS, GETS = ("BINPUT", "LONG_BINPUT"), ("BINGET", "LONG_BINGET")
NAMING = ("GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4")


class Ignored:
    """Takes the place of NumPy scalars (DC stores its scores so): NumPy is not called."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


IGNORED = frozenset(
    {"numpy dtype", "numpy.core.multiarray scalar", "numpy._core.multiarray scalar"}
)


def read(path: str | Path) -> Any:
    """What a `.pt` file holds: tensors, mapped from the file, in lists and dictionaries.

    FormatError where its pickle calls what is not in `CALLS`, or a tensor claims more values than
    the file has.
    """
    path = Path(path)
    held = _require_safe(path)
    known: list[Any] = [(Ignored, name.replace(" ", ".")) for name in IGNORED]
    try:
        with torch.serialization.safe_globals(known):
            content = torch.load(  # noqa: TID251  weights only, after the checks above
                path, map_location="cpu", weights_only=True, mmap=True
            )
    except Exception as fault:  # a broken pickle raises of every kind
        raise FormatError(
            f"{path}: its pickle is broken ({type(fault).__name__}){AGAIN}"
        ) from None
    _require_held(content, held, path)
    return content


def tensor(
    value: object, *, where: str, shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> Tensor:
    """A copy of `value`; FormatError where it is no finite tensor of this shape and type."""
    if not isinstance(value, Tensor):
        raise FormatError(f"{where} is a {type(value).__name__}, where a tensor is expected")
    if tuple(value.shape) != tuple(shape) or value.dtype != dtype:
        raise FormatError(
            f"{where} has shape {brief(tuple(value.shape))} and type {value.dtype}, "
            f"where {tuple(shape)} and {dtype} are expected"
        )
    copy = value.detach().clone(memory_format=torch.contiguous_format)
    if not copy.isfinite().all():
        raise FormatError(f"{where} has values that are not finite")
    return copy


def _require_safe(path: Path) -> int:
    """The bytes of tensor values in an archive; refused if it is not of plain tensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            if len(pickles) != 1 or pickles[0].file_size > MOST_PROGRAM:
                raise FormatError(f"{path} has not one pickle of at most 1 MiB{AGAIN}")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise FormatError(f"{path} is compressed, which PyTorch never does{AGAIN}")
            program = archive.read(pickles[0])
    except FileNotFoundError:
        raise FormatError(f"{path} does not exist") from None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as fault:
        raise FormatError(
            f"{path} is not a .pt file of PyTorch 1.6 or newer ({_brief(fault)}): it is truncated "
            "or older; download it again, or ask its author to save it with a newer PyTorch"
        ) from None
    _require_plain(program, path)
    return sum(entry.file_size for entry in entries if "/data/" in entry.filename)


def _require_plain(program: bytes, path: Path) -> None:
    """Refuse a pickle that calls what tensors do not need, or uses tuples again and again."""
    calls: set[str] = set()
    tuples: set[object] = set()  # where the pickle's memo has them
    reused, on_top = 0, False  # on_top: whether the last value put on the stack is a tuple
    try:
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name in PUTS:
                tuples |= {argument} if on_top else set()
                continue
            again = opcode.name in GETS and argument in tuples
            reused, on_top = reused + again, again or "TUPLE" in opcode.name
            if opcode.name in NAMING:
                calls.add(str(argument) if opcode.name == "GLOBAL" else opcode.name)
    except Exception as fault:  # of every kind
        raise FormatError(f"{path}: its pickle is broken ({_brief(fault)}){AGAIN}") from None
    unknown = sorted(calls - CALLS - IGNORED)
    if refused := [name for name in unknown if not STORAGES.fullmatch(name)]:
        raise FormatError(
            f"{path}: its pickle calls {some(map(brief, refused), at_most=5)}, which no file of "
            f"tensors needs{AGAIN}"
        )
    if reused > MOST_REUSED:
        raise FormatError(
            f"{path}: its pickle reuses tuples {reused} times, a file of tensors at most "
            f"{MOST_REUSED} times{AGAIN}"
        )


def _require_held(content: object, held: int, path: Path) -> None:
    """Refuse a tensor larger than its storage, and storages larger than `held` bytes in all."""
    storages: dict[int, int] = {}
    for value in _tensors(content):
        storage = value.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        larger = value.numel() * value.element_size() > storage.nbytes()
        if larger or sum(storages.values()) > held:
            raise FormatError(
                f"{path}: a tensor claims the shape {brief(tuple(value.shape))}, for which the "
                f"file has no values{AGAIN}"
            )


def _tensors(content: object) -> Iterator[Tensor]:
    """All tensors in lists and dictionaries, however these hold each other."""
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)


def _brief(fault: Exception) -> str:
    return printable(str(fault).partition("\n")[0] or type(fault).__name__, most=200)
