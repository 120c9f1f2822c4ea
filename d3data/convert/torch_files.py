"""Tensors from other people's `.pt` files; the one module that calls `torch.load`.

A `.pt` file is a zip archive with a pickle, which is a program. `torch.load(weights_only=True)`
refuses most of what such a program may do. Checked beside it, since it does not refuse them:
calls that allocate memory (`bytearray`), tuples nested so that hashing one takes hours or
overflows the stack, archives with other entries than torch writes (it finds entries whatever the
case of their names), and tensors larger than the bytes that the file has. Values are mapped from
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
MOST_IN_TUPLE = 1 << 12  # values, with those of the tuples in it, each time that they occur
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
ENTRIES = re.compile(
    r"[^/]+/(data\.pkl|version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/serialization_id|data/[0-9]+)"
)
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
        raise FormatError(f"{path} cannot be loaded as tensors ({_brief(fault)}){AGAIN}") from None
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
            if fault := _unlike_torch(entries):
                raise FormatError(f"{path} {fault}{AGAIN}")
            program = archive.read(next(e for e in entries if e.filename.endswith("/data.pkl")))
    except FileNotFoundError:
        raise FormatError(f"{path} does not exist") from None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as fault:
        raise FormatError(
            f"{path} is not a .pt file of PyTorch 1.6 or newer ({_brief(fault)}): it is truncated "
            "or older; download it again, or ask its author to save it with a newer PyTorch"
        ) from None
    _require_plain(program, path)
    return sum(entry.file_size for entry in entries if "/data/" in entry.filename)


def _unlike_torch(entries: Sequence[zipfile.ZipInfo]) -> str | None:
    """What distinguishes an archive from those that `torch.save` writes."""
    names = [entry.filename for entry in entries]
    if unknown := [name for name in names if not ENTRIES.fullmatch(name)]:
        return f"holds {brief(unknown[0])}, which no file of tensors has"
    lowered = {name.lower() for name in names}  # torch takes one for the other
    if len(lowered) < len(names) or len({name.split("/")[0] for name in names}) != 1:
        return "holds an entry twice, or several archives"
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        return "is compressed, which PyTorch never does"
    pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
    if not pickles or pickles[0].file_size > MOST_PROGRAM:
        return f"has no pickle, or one of more than {MOST_PROGRAM >> 20} MiB"
    return None


def _require_plain(program: bytes, path: Path) -> None:
    """Refuse a pickle that calls what tensors do not need, or has tuples that are huge to hash."""
    try:
        unknown = sorted(_calls(program) - CALLS - IGNORED)
        refused = [name for name in unknown if not STORAGES.fullmatch(name)]
        largest = 0 if refused else _largest_tuple(program)
    except Exception as fault:  # of every kind
        raise FormatError(f"{path}: its pickle is broken ({_brief(fault)}){AGAIN}") from None
    if refused:
        raise FormatError(
            f"{path}: its pickle calls {some(map(brief, refused), at_most=5)}, which no file of "
            f"tensors needs{AGAIN}"
        )
    if largest > MOST_IN_TUPLE:
        raise FormatError(
            f"{path}: a tuple in its pickle holds more than {MOST_IN_TUPLE:,} values, those of "
            f"tuples in it counted each time, which no file of tensors needs{AGAIN}"
        )


def _calls(program: bytes) -> set[str]:
    named = [(op.name, what) for op, what, _ in pickletools.genops(program) if op.name in NAMING]
    return {str(what) if opcode == "GLOBAL" else opcode for opcode, what in named}


def _largest_tuple(program: bytes) -> int:
    """How many values a tuple of a pickle holds, those of tuples in it included.

    The pickle's stack is followed with sizes in place of values; nothing of it is run, and the
    first tuple beyond `MOST_IN_TUPLE` ends it.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[object, int] = {}
    largest = 0
    for opcode, argument, _ in pickletools.genops(program):
        if opcode.name in PUTS:
            memo[argument] = stack[-1]
        elif opcode.name in GETS:
            stack.append(memo[argument])
        elif opcode.name == "MARK":
            marks.append(len(stack))
        else:
            taken = _taken(stack, marks, opcode.stack_before)
            size = 1 + (sum(taken) if "TUPLE" in opcode.name else 0)
            stack += [size] * len(opcode.stack_after)
            largest = max(largest, size)
            if largest > MOST_IN_TUPLE:
                break
    return largest


def _taken(stack: list[int], marks: list[int], kinds: Sequence[object]) -> list[int]:
    """Take off the stack what an instruction takes, that from the last mark on included."""
    upper = len(stack) if pickletools.stackslice not in kinds else marks.pop()
    below = [
        kind for kind in kinds if kind not in (pickletools.markobject, pickletools.stackslice)
    ]
    start = upper - len(below)
    if start < 0:
        raise LookupError("more is taken off its stack than there is")
    taken = stack[start:]
    del stack[start:]
    return taken


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
