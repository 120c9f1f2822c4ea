"""WebDataset shards: tar files in which `key.jpg` and `key.cls` make one labelled image.

Shards are indexed once and images are read in place, so a shard must not be compressed.
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
from d3data.images.formats.base import ExportPlan, Sample, read_names, write_names
from d3data.images.formats.index import (
    UNLABELED,
    ImageIndex,
    Images,
    IndexedSplit,
    Role,
    by_role,
    class_labels,
)
from d3data.images.png import encode_png
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


class Member(NamedTuple):
    """Where one image is: its shard, its name there, and its bytes."""

    shard: Path
    name: str
    offset: int
    size: int


def read(path: Path) -> ImageIndex:
    """One shard, or all `*.tar` below a folder; those whose names speak of no split are train.

    Raises:
        DataError: a shard is compressed or cut off, or a sample has a label and no image.
    """
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else sorted(path.rglob("*.tar"))
    members: dict[Role, list[Member]] = {}
    values: dict[Role, NDArray[np.str_] | NDArray[np.int64]] = {}
    for part, own in by_role(files, root).items():
        samples = [sample for file in own for sample in _samples(file)]
        members[part] = [member for member, _ in samples]
        values[part] = _numbers([text for _, text in samples])
    classes, labels = class_labels(values, read_names(root), str(path))
    splits = {
        part: IndexedSplit(
            _images(own), labels[part], digest(f"{m.shard.name} {m.name} {m.size}" for m in own)
        )
        for part, own in members.items()
    }
    return ImageIndex(classes, splits, str(path))


def write(plan: ExportPlan, shard: int, samples: Iterable[Sample]) -> None:
    """Write images as `shard-000000.tar`, those of another split than train by its name."""
    stem = "shard" if plan.split == "train" else plan.split  # no split is said where it is train
    path = plan.folder / f"{stem}-{shard:06d}.tar"
    with (
        replacing(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for number, (pixels, label, soft) in zip(plan.rows(shard), samples, strict=True):
            members = {"png": encode_png(pixels), "cls": str(label).encode()}
            if soft is not None:
                members["json"] = json.dumps({"soft_label": soft.tolist()}).encode()
            for suffix, content in members.items():
                member = tarfile.TarInfo(f"{number:08d}.{suffix}")  # no time, owner or group
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def finish(plan: ExportPlan) -> None:
    """Write `classes.txt`."""
    write_names(plan.folder, plan.classes)


def _images(members: Sequence[Member]) -> Images:
    def name(index: int) -> str:
        return f"{members[index].shard.name}:{members[index].name}"

    def read(index: int) -> bytes:
        member = members[index]
        with member.shard.open("rb") as file:
            file.seek(member.offset)
            return file.read(member.size)

    return Images(len(members), name, read)


def _samples(file: Path) -> list[tuple[Member, str]]:
    from webdataset.tariterators import base_plus_ext

    images: dict[str, Member] = {}
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
                    images[key] = Member(file, member.name, member.offset_data, member.size)
    except (tarfile.TarError, UnicodeDecodeError, EOFError) as failure:
        raise DataError(
            f"{file} is truncated, compressed or not a tar file ({failure}); download it again, "
            "or store it uncompressed"
        ) from None
    if bare := sorted(labels.keys() - images.keys()):
        raise DataError(f"{file}: labels without an image: {some(bare)}")
    return [(member, labels.get(key, "")) for key, member in images.items()]


def _numbers(texts: Sequence[str]) -> NDArray[np.str_] | NDArray[np.int64]:
    if all(text.lstrip("-").isdigit() for text in texts if text):
        return np.array([int(text) if text else UNLABELED for text in texts], np.int64)
    return np.array(texts, np.str_)
