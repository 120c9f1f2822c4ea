"""WebDataset shards: tar files in which `key.jpg` and `key.cls` make one labelled image.

Shards are indexed once and images are read where they lie, so a shard must not be compressed.
A file `classes.txt` beside the shards, one name a line, names the classes.
"""

import tarfile
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from d3data.errors import DataError
from d3data.files import replacing, write_bytes
from d3data.formats import folders
from d3data.formats.collection import (
    UNLABELLED,
    Collection,
    Portion,
    Role,
    by_role,
    classified,
    digest,
    png,
    some,
)

SHARD = 10_000  # images in one shard that is written
NAMES = "classes.txt"


class Place(NamedTuple):
    """Where one image lies: its shard, its name there, and its bytes."""

    shard: Path
    name: str
    offset: int
    size: int


class Shards:
    """The images of several tar files."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = places

    def __len__(self) -> int:
        """How many there are."""
        return len(self.places)

    def name(self, index: int) -> str:
        """The shard and the name within it."""
        return f"{self.places[index].shard.name}:{self.places[index].name}"

    def read(self, index: int) -> bytes:
        """The bytes of one image."""
        place = self.places[index]
        with place.shard.open("rb") as file:
            file.seek(place.offset)
            return file.read(place.size)


def read(path: Path) -> Collection:
    """One shard, or all `*.tar` below a folder; those whose names speak of no split are train.

    Raises:
        DataError: a shard is compressed or cut off, or a sample has a label and no image.
    """
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else sorted(path.rglob("*.tar"))
    names = root / NAMES
    places: dict[Role, list[Place]] = {}
    values: dict[Role, NDArray[np.str_] | NDArray[np.int64]] = {}
    for part, own in by_role(files, root).items():
        found = [sample for file in own for sample in _samples(file)]
        places[part] = [place for place, _ in found]
        values[part] = _numbers([text for _, text in found])
    known = names.read_text().splitlines() if names.is_file() else None
    classes, labels = classified(values, known, str(path))
    portions = {
        part: Portion(
            Shards(own), labels[part], digest(f"{p.shard.name} {p.name} {p.size}" for p in own)
        )
        for part, own in places.items()
    }
    return Collection(classes, portions, str(path))


def write(
    folder: Path, samples: Iterable[tuple[Tensor, int]], *, classes: Sequence[str], split: str
) -> list[Path]:
    """Write images (C, H, W) of uint8 and their labels as shards of PNGs, and `classes.txt`.

    The same samples give the same bytes.
    """
    import webdataset

    write_bytes(folder / NAMES, "".join(f"{name}\n" for name in classes).encode())
    shards: list[Path] = []
    numbered = enumerate(samples)
    while lot := list(islice(numbered, SHARD)):
        shards.append(folder / f"{split}-{len(shards):06d}.tar")
        with replacing(shards[-1]) as path, webdataset.TarWriter(str(path), mtime=0) as sink:
            for index, (pixels, label) in lot:
                sink.write({"__key__": f"{index:06d}", "png": png(pixels), "cls": label})
    return shards


def _samples(file: Path) -> list[tuple[Place, str]]:
    from webdataset.tariterators import base_plus_ext

    images: dict[str, Place] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                key, suffix = base_plus_ext(member.name)
                if key is None or not member.isfile():
                    continue
                if suffix.lower() == "cls":
                    content = archive.extractfile(member)
                    labels[key] = content.read().decode().strip() if content else ""
                elif folders.is_image(f"image.{suffix}"):
                    images[key] = Place(file, member.name, member.offset_data, member.size)
    except (tarfile.TarError, UnicodeDecodeError, EOFError) as failure:
        raise DataError(f"{file} is no whole, uncompressed tar file ({failure})") from None
    if bare := sorted(labels.keys() - images.keys()):
        raise DataError(f"{file}: labels without an image: {some(bare)}")
    return [(place, labels.get(key, "")) for key, place in images.items()]


def _numbers(texts: Sequence[str]) -> NDArray[np.str_] | NDArray[np.int64]:
    if all(text.lstrip("-").isdigit() for text in texts if text):
        return np.array([int(text) if text else UNLABELLED for text in texts], np.int64)
    return np.array(texts, np.str_)
