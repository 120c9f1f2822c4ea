"""WebDataset shards: tar files in which `key.jpg` and `key.cls` make one labelled image.

Shards are indexed once and images are read in place, so a shard must not be compressed.
A file `classes.txt` beside the shards, one name a line, names the classes.
"""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from d3data.errors import DataError
from d3data.images.formats import folders
from d3data.images.formats.base import ExportPlan, Sample, read_names, write_names
from d3data.images.formats.index import (
    UNLABELED,
    ImageIndex,
    Images,
    StoredSplit,
    by_role,
    index_images,
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
    """One shard, or all `*.tar` below a folder."""
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else sorted(path.rglob("*.tar"))
    stored = {part: _split(own) for part, own in by_role(files, root).items()}
    return index_images(stored, read_names(root), str(path))


def write(plan: ExportPlan, shard: int, samples: Iterable[Sample]) -> None:
    """Write images as `shard-000000.tar`, or `test-000000.tar`."""
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


def _split(files: Iterable[Path]) -> StoredSplit:
    samples = [sample for file in files for sample in _samples(file)]
    members, texts = [member for member, _ in samples], [text for _, text in samples]

    def read(index: int) -> bytes:
        member = members[index]
        with member.shard.open("rb") as file:
            file.seek(member.offset)
            return file.read(member.size)

    names = [f"{member.shard.name}:{member.name}" for member in members]
    labels: NDArray[Any] = np.array(texts, np.str_)
    if all(text.lstrip("-").isdigit() for text in texts if text):
        labels = np.array([int(text) if text else UNLABELED for text in texts], np.int64)
    identity = digest(f"{m.shard.name} {m.name} {m.size}" for m in members)
    return Images(len(members), names.__getitem__, read), labels, identity


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
