"""WebDataset shards: tar files in which `key.jpg` and `key.cls` make one labelled image.

Shards are indexed once and images are read where they lie, so a shard must not be compressed.
A file `classes.txt` beside the shards, one name a line, names the classes.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats import folders
from d3data.images.formats.base import Plan, Sample, read_names, write_names
from d3data.images.formats.index import UNLABELED, Collection, Portion, Role, by_role, classified
from d3data.images.png import png
from d3data.utils.atomic import replacing
from d3data.utils.hashing import digest
from d3data.utils.text import some

FILES = "shard-*.tar"
HOW = """\
`webdataset.WebDataset(sorted(glob.glob("shard-*.tar")), shardshuffle=100).shuffle(1000)` reads
samples with members `png` and `cls`, the class id, and where the set has soft labels `json`,
`{"soft_label": [...]}`; `.decode("pil")` decodes them. Class k is line k, counted from 0, of
`classes.txt`. `datasets.load_dataset("./")` reads the same members as columns.
"""


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
    places: dict[Role, list[Place]] = {}
    values: dict[Role, NDArray[np.str_] | NDArray[np.int64]] = {}
    for part, own in by_role(files, root).items():
        found = [sample for file in own for sample in _samples(file)]
        places[part] = [place for place, _ in found]
        values[part] = _numbers([text for _, text in found])
    classes, labels = classified(values, read_names(root), str(path))
    portions = {
        part: Portion(
            Shards(own), labels[part], digest(f"{p.shard.name} {p.name} {p.size}" for p in own)
        )
        for part, own in places.items()
    }
    return Collection(classes, portions, str(path))


def write(plan: Plan, shard: int, samples: Iterable[Sample]) -> None:
    """Write images as `shard-000000.tar`, those of another split than train by its name."""
    stem = "shard" if plan.split == "train" else plan.split  # no split is said where it is train
    path = plan.folder / f"{stem}-{shard:06d}.tar"
    with (
        replacing(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for number, (pixels, label, soft) in zip(plan.rows(shard), samples, strict=True):
            members = {"png": png(pixels), "cls": str(label).encode()}
            if soft is not None:
                members["json"] = json.dumps({"soft_label": soft.tolist()}).encode()
            for suffix, content in members.items():
                member = tarfile.TarInfo(f"{number:08d}.{suffix}")  # no time, owner or group
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def finish(plan: Plan) -> None:
    """Write `classes.txt`."""
    write_names(plan.folder, plan.classes)


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
        return np.array([int(text) if text else UNLABELED for text in texts], np.int64)
    return np.array(texts, np.str_)
