"""What every byte of an artifact is spent on, computed from its files: it cannot disagree."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from d3data.artifact import safetensors_file
from d3data.artifact.manifest import NAME, Manifest
from d3data.sources.base import purpose
from d3data.utils import safe_open
from d3data.utils.text import figures, percent, table

Locate = Callable[[str], tuple[Path, str]]
ALWAYS = ("priors", "decoder", "labels", "augmentation", "scales")  # told also where they are 0


@dataclass(frozen=True)
class Ledger:
    """Values and bytes of an artifact.

    Attributes:
        published_values: values as papers count them, before norms are folded.
        stored_values: values in the parts' tensors.
        purposes: bytes of manifest and parts by purpose (priors, decoder, labels, headers, ...).
        extras: bytes of each other file.
        ipc_values: values of one image per class.
        source_bytes: bytes of the real training images at this size, as uint8.
    """

    published_values: int
    stored_values: int
    purposes: Mapping[str, int]
    extras: Mapping[str, int]
    ipc_values: int
    source_bytes: int

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

    @property
    def ipc_prototypes(self) -> float:
        """Bytes of manifest and parts, in bytes of one float32 image per class."""
        return self.ipc_bytes / 4

    @property
    def share_of_source(self) -> float:
        """Bytes of manifest and parts / bytes of the real images at this size, as uint8."""
        return self.content_bytes / self.source_bytes

    @property
    def against(self) -> dict[str, str]:
        """Bytes of manifest and parts against those of real images, with their unit."""
        return {
            "one uint8 image per class": f"{figures(self.ipc_bytes)} times",
            "one float32 image per class": f"{figures(self.ipc_prototypes)} times",
            "all real images, as uint8 at this size": percent(self.share_of_source),
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """(section, entry, number) of everything, in order, for tables."""
        return [
            ("values", "as papers count them", f"{self.published_values:,}"),
            ("values", "stored in the parts", f"{self.stored_values:,}"),
            ("values", "in images per class (ipc_floats)", figures(self.ipc_floats)),
            *(("bytes", name, f"{size:,}") for name, size in self.purposes.items()),
            ("bytes", "manifest and parts", f"{self.content_bytes:,}"),
            *(("against", what, number) for what, number in self.against.items()),
            *(("extras", name, f"{size:,}") for name, size in self.extras.items()),
            ("files", "all that is here", f"{self.total_bytes:,}"),
        ]

    def __str__(self) -> str:
        return table((), self.rows(), words=2)


def measure(manifest: Manifest, *, locate: Locate, sizes: Mapping[str, int]) -> Ledger:
    """The ledger of the artifact with this manifest, whose files have these `sizes` in bytes."""
    content, sizes = manifest.content, dict(sizes)
    spent = Counter(dict.fromkeys(ALWAYS, 0))
    values = published = 0
    for entry in content.parts:
        header = _header(*locate(entry.path))
        spent["headers"] += header.size
        shapes = content.layout(entry)
        for name, (_, shape) in header.tensors.items():
            spent[purpose(name) if name in shapes else "scales"] += header.bytes_of(name)
            values += math.prod(shapes.get(name, shape))
        published += content.published_values(entry)
        del sizes[entry.path]
    spent["manifest"] = sizes.pop(NAME)
    return Ledger(
        published_values=published,
        stored_values=values,
        purposes=dict(sorted(spent.items(), key=lambda pair: -pair[1])),
        extras=dict(sorted(sizes.items())),
        ipc_values=len(content.classes) * content.image.values,
        source_bytes=manifest.about.provenance.images * content.image.values,
    )


def _header(folder: Path, path: str) -> safetensors_file.Header:
    with safe_open.known(folder, path, size=0, sha256="", verify="never") as file:
        return safetensors_file.header(file, where=str(folder / path))
