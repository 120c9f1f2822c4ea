"""WebDataset shards: tar files in which `key.jpg` and `key.cls` make one labelled image.

Shards are indexed once and images are read in place, so a shard must not be compressed.
A file `classes.txt` beside the shards, one name a line, names the classes.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from d3data.errors import DataError
from d3data.images.formats import folders
from d3data.images.formats.base import NAMES, ExportPlan, Sample, read_names, write_names
from d3data.images.formats.files import Listing, unreadable, walk
from d3data.images.formats.index import ImageIndex, Images, StoredSplit, index_images
from d3data.images.formats.layout import Splits, by_role
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
SUFFIX = ".tar"
LABEL = "cls"
MOST_OF_A_LABEL = 1000  # bytes
CHOOSE = (
    "name the members with image and label, `d3data init --columns png cls`, or "
    'columns = ["png", "cls"] in the recipe\'s [task]'
)

MOST_AFTER_THE_END = 1 << 20  # bytes of padding; tar fills up to 10 kB

T = TypeVar("T")


class Member(NamedTuple):
    """Where one image is: its shard, its name there, and its bytes."""

    shard: Path
    name: str
    offset: int
    size: int


def read(
    place: Path | Listing, wanted: tuple[str, str] | None = None, splits: Splits | None = None
) -> ImageIndex:
    """One shard, or all `*.tar` below a folder; `wanted` are the members with image and label."""
    listing = walk(place)
    parts = by_role(listing.ending(SUFFIX), listing.place, splits)
    files = [file for own in parts.values() for file in own]
    taken: set[str] = set()
    stored = {
        part: _split([listing.root / file for file in own], wanted, taken)
        for part, own in parts.items()
    }
    names = read_names(listing.root)
    notes = [
        f"members: {some(sorted(taken))}",
        listing.rest([*files, *([NAMES] if names else [])]),
    ]
    return index_images(stored, names, listing.place, notes=notes)


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


def _split(files: Iterable[Path], wanted: tuple[str, str] | None, taken: set[str]) -> StoredSplit:
    samples = [sample for file in files for sample in _samples(file, wanted, taken)]
    texts_of: dict[Path, set[str]] = {}
    for member, text in samples:
        texts_of.setdefault(member.shard, set()).update({text} - {""})
    _require_one_kind(texts_of)
    members, texts = [member for member, _ in samples], [text for _, text in samples]

    def read(index: int) -> bytes:
        member = members[index]
        with member.shard.open("rb") as file:
            file.seek(member.offset)
            return file.read(member.size)

    names = [f"{member.shard.name}:{member.name}" for member in members]
    identity = digest(f"{m.shard.name} {m.name} {m.size}" for m in members)
    return Images(len(members), names.__getitem__, read), np.array(texts, np.str_), identity


def _samples(
    file: Path, wanted: tuple[str, str] | None, taken: set[str]
) -> list[tuple[Member, str]]:
    """The image and the label of each sample, in order; suffixes that were used are `taken`."""
    image, label = (name.lower().split(";") for name in wanted or ("", LABEL))
    images: dict[str, dict[str, Member]] = {}
    labels: dict[str, dict[str, str]] = {}
    other: set[str] = set()
    for key, suffix, member, text in _members(file, label):
        if suffix in label:
            _put(labels.setdefault(key, {}), suffix, text, file, key)
        elif suffix in image or (not wanted and folders.is_image(f"image.{suffix}")):
            _put(images.setdefault(key, {}), suffix, member, file, key)
        else:
            other.add(suffix)
    found: list[tuple[str, Iterable[str]]] = [*images.items(), *labels.items()]
    for key, suffixes in found:
        if len(several := sorted(suffixes)) > 1:
            raise DataError(f"{file}: sample {key} has {' and '.join(several)}: {CHOOSE}")
    if bare := sorted(labels.keys() - images.keys()):
        raise DataError(
            f"{file}: labels without an image: {some(bare)}; its other members are "
            f"{some(sorted(other)) or 'none'}; {CHOOSE}"
        )
    if images and not labels:
        raise DataError(
            f"{file} has no member {' or '.join(label)} with labels, only "
            f"{some(sorted({*other, *(s for own in images.values() for s in own)}))}; {CHOOSE}"
        )
    taken |= {suffix for _, suffixes in found for suffix in suffixes}
    return [
        (member, next(iter(labels.get(key, {"": ""}).values())))
        for key, own in images.items()
        for member in own.values()
    ]


def _require_end(file: Path, end: int) -> None:
    """Refuse a shard that does not end where its members do, for what follows would be lost."""
    with file.open("rb") as shard:
        shard.seek(end)
        rest = shard.read(MOST_AFTER_THE_END + 1)
    if len(rest) < 1024 or len(rest) > MOST_AFTER_THE_END or any(rest):
        raise DataError(
            f"{file} is cut off, damaged or several archives in one: its members end at byte "
            f"{end} of {file.stat().st_size}; pack or fetch it again"
        )


def _require_one_kind(texts: Mapping[Path, set[str]]) -> None:
    """Refuse shards of which some have numbers for labels, and others text."""
    numbers = {file for file, own in texts.items() if own and all(map(str.isdecimal, own))}
    others = {file for file, own in texts.items() if own} - numbers
    if numbers and others:
        raise DataError(
            f"labels are numbers in {min(numbers)} and text in {min(others)}: pack them again "
            "with labels of one kind"
        )


def _put(own: dict[str, T], suffix: str, value: T, file: Path, key: str) -> None:
    if suffix in own:
        raise DataError(
            f"{file} has two members {key}.{suffix}: a key names one sample; pack it again "
            "without the other"
        )
    own[suffix] = value


def _members(file: Path, label: Sequence[str]) -> Iterator[tuple[str, str, Member, str]]:
    """Key, suffix, place and, of labels, the text of each member of a shard."""
    from webdataset.tariterators import base_plus_ext

    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                key, suffix = base_plus_ext(member.name)
                if key is None or _hidden(member.name) or not member.isfile():
                    continue
                member.name.encode()
                text = ""
                if suffix.lower() in label and (content := archive.extractfile(member)):
                    text = content.read(MOST_OF_A_LABEL).decode().strip()
                yield (
                    key,
                    suffix.lower(),
                    Member(file, member.name, member.offset_data, member.size),
                    text,
                )
            _require_end(file, archive.offset)
    except UnicodeError:
        raise DataError(f"{file}: a name or a label is no UTF-8 text: pack it again") from None
    except (tarfile.TarError, EOFError, OSError, ValueError) as failure:
        raise unreadable(file, failure, "an uncompressed tar file") from None


def _hidden(name: str) -> bool:
    *folders, own = name.split("/")
    return own.startswith(".") or any(folder.startswith("__") for folder in folders)
