"""What every byte of an artifact is spent on, computed from its files: it cannot disagree."""

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from d3data import tensorfile, untrusted
from d3data.errors import IntegrityError
from d3data.manifest import NAME, Manifest
from d3data.sources.base import purpose
from d3data.sources.parts import published_values


@dataclass(frozen=True)
class Ledger:
    """Values and bytes of an artifact.

    Attributes:
        published_values: values as papers count them, before norms are folded.
        stored_values: values in the parts' tensors.
        purposes: bytes of manifest and parts by purpose (priors, decoder, labels, headers, ...).
        extras: bytes of each other file.
        ipc_values: values of one image per class.
    """

    published_values: int
    stored_values: int
    purposes: Mapping[str, int]
    extras: Mapping[str, int]
    ipc_values: int

    @property
    def content_bytes(self) -> int:
        """Bytes of manifest and parts: what it takes to train on."""
        return sum(self.purposes.values())

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return self.content_bytes + sum(self.extras.values())

    @property
    def ipc_floats(self) -> float:
        """Values as papers count them, in values of one image per class."""
        return self.published_values / self.ipc_values

    @property
    def ipc_bytes(self) -> float:
        """Bytes of manifest and parts, in bytes of one uint8 image per class."""
        return self.content_bytes / self.ipc_values

    def rows(self) -> list[tuple[str, str, float]]:
        """(section, entry, number) of everything, in order, for tables."""
        return [
            ("values", "published", self.published_values),
            ("values", "stored", self.stored_values),
            ("values", "ipc_floats", self.ipc_floats),
            *(("bytes", name, size) for name, size in self.purposes.items()),
            ("bytes", "manifest and parts", self.content_bytes),
            ("bytes", "ipc_bytes", self.ipc_bytes),
            *(("extras", name, size) for name, size in self.extras.items()),
            ("all files", "bytes", self.total_bytes),
        ]

    def __str__(self) -> str:
        lines = [
            f"{section:<10}{entry:<28}{_spell(number):>16}"
            for section, entry, number in self.rows()
        ]
        return "\n".join(lines)


def measure(folder: Path, manifest: Manifest) -> Ledger:
    """The ledger of the artifact in `folder`.

    Raises:
        FormatError: a part is not a safetensors file.
        IntegrityError: a part is missing, or its tensors do not add up to its size.
    """
    content = manifest.content
    spent: Counter[str] = Counter()
    values = published = 0
    for entry in content.parts:
        header, size = _header(folder, entry.path)
        spent["headers"] += header.size
        for name, (_, shape) in header.tensors.items():
            spent[purpose(name)] += header.bytes_of(name)
            values += math.prod(shape)
        if header.size + sum(map(header.bytes_of, header.tensors)) != size:
            raise IntegrityError(
                f"{folder / entry.path}: its tensors do not add up to {size} bytes"
            )
        published += published_values(
            content.source,
            content.image,
            items=entry.items,
            classes=len(entry.classes),
            labels=content.label_values,
        )
    sizes = _sizes(folder)
    spent["manifest"] = sizes.pop(NAME)
    return Ledger(
        published_values=published,
        stored_values=values,
        purposes=dict(sorted(spent.items(), key=lambda pair: -pair[1])),
        extras={path: sizes[path] for path in sorted(sizes.keys() - _paths(manifest))},
        ipc_values=len(content.classes) * content.image.values,
    )


def _header(folder: Path, path: str) -> tuple[tensorfile.Header, int]:
    with untrusted.opened(folder, path) as file:
        start = file.read(8 + tensorfile.MOST_HEADER)
        return tensorfile.header(start, where=str(folder / path)), os.fstat(file.fileno()).st_size


def _sizes(folder: Path) -> dict[str, int]:
    """The size of every file below `folder`, by relative path; links count for nothing."""
    found = {}
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if path.is_file() and not path.is_symlink():
                found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return found


def _paths(manifest: Manifest) -> set[str]:
    return {entry.path for entry in manifest.content.parts}


def _spell(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,.3f}"
