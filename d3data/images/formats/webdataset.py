"""WebDataset shards: tar files in which `key.jpg` and `key.cls` make one labelled image.

Shards are indexed once and images are read in place, so a shard must not be compressed.
A file `classes.txt` beside the shards, one name a line, names the classes. The label may be a key
of a JSON document, `json.KEY`.
"""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from d3data.errors import DataError
from d3data.images.formats import folders
from d3data.images.formats.base import NAMES, ExportPlan, Sample, read_names, write_names
from d3data.images.formats.files import Listing, unreadable, walk
from d3data.images.formats.index import ImageIndex, Images, StoredSplit, index_images
from d3data.images.formats.layout import (
    Role,
    Splits,
    by_role,
    require_no_masks,
    roles,
    several,
)
from d3data.images.png import encode_png
from d3data.utils.atomic import replacing
from d3data.utils.hashing import digest
from d3data.utils.text import brief, some

FILES = "shard-*.tar"
HOW = """\
`webdataset.WebDataset(sorted(glob.glob("shard-*.tar")), shardshuffle=100).shuffle(1000)` reads
samples with members `png` and `cls`, the class id, and where the set has soft labels `json`,
`{"soft_label": [...]}`; `.decode("pil")` decodes them. Class k is line k, counted from 0, of
`classes.txt`. `datasets.load_dataset("./")` reads the same members as columns.
"""
SUFFIX = ".tar"
LABEL = "cls"
DOCUMENT = "json"
MOST_OF_A_LABEL = 1000  # bytes
MOST_OF_A_DOCUMENT = 1 << 24
CHOOSE = (
    "name the members with image and label, `--columns png cls` or `--columns png json.KEY`, or "
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


class Seen(NamedTuple):
    """What shards hold: suffixes that are taken, others, and how many members are left out."""

    taken: set[str]
    others: set[str]
    left: Counter[str]

    def note(self) -> str:
        """What was taken, and what was not."""
        rest = sorted(self.others - self.taken)
        left = some(f"{count} {what}" for what, count in sorted(self.left.items()))
        return "; ".join(
            [
                f"members: {some(sorted(self.taken))}",
                *([f"not {some(rest)}"] if rest else []),
                *([f"left out: {left}"] if left else []),
            ]
        )


def read(
    place: Path | Listing, wanted: tuple[str, str] | None = None, splits: Splits | None = None
) -> ImageIndex:
    """One shard, or all `*.tar` below a folder; `wanted` are the members with image and label."""
    listing = walk(place)
    parts = by_role(listing.ending(SUFFIX), listing.place, splits)
    files = [file for own in parts.values() for file in own]
    seen = Seen(set(), set(), Counter())
    stored = {
        part: _split([listing.root / file for file in own], wanted, seen)
        for part, own in parts.items()
    }
    if not wanted:
        _require_one_image(seen.taken, listing.place)
    if not splits:
        _require_own_split(stored, listing.place)
    if wanted and seen.left and not any(len(images) for images, _, _ in stored.values()):
        raise DataError(f"{listing.place}: no sample has a member {wanted[0]}; {CHOOSE}")
    names = read_names(listing.root)
    notes = [
        several(parts.get("train", ())),
        seen.note(),
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


def _split(files: Iterable[Path], wanted: tuple[str, str] | None, seen: Seen) -> StoredSplit:
    samples = [sample for file in files for sample in _samples(file, wanted, seen)]
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


def _samples(file: Path, wanted: tuple[str, str] | None, seen: Seen) -> list[tuple[Member, str]]:
    """The image and the label of each sample, in order."""
    image, label = (name.split(";") for name in wanted or ("", LABEL))
    images: dict[str, dict[str, Member]] = {}
    labels: dict[str, dict[str, str]] = {}
    others: dict[str, set[str]] = {}
    asked = {suffix.lower() for suffix in image}
    for key, suffix, member, text in _members(file, _keys(label), seen.left):
        if text is not None:
            _put(labels.setdefault(key, {}), suffix, text, file, key)
        elif suffix in asked or (not wanted and _is_image(suffix)):
            _put(images.setdefault(key, {}), suffix, member, file, key)
        else:
            others.setdefault(key, set()).add(suffix)
    found: list[tuple[str, Iterable[str]]] = [*images.items(), *labels.items()]
    for key, suffixes in found:
        if len(twice := sorted(suffixes)) > 1:
            dotted = all("." in suffix for suffix in twice)
            dots = " (a name ends at its first dot)" if dotted else ""
            listed = " and ".join(twice[:4])
            raise DataError(f"{file}: sample {key} has {listed}{dots}: {CHOOSE}")
    rest = {suffix for own in others.values() for suffix in own}
    bare = labels.keys() - images.keys()
    masks = {key for key in bare if any(map(_is_image, others.get(key, ())))}
    if none := sorted(bare - masks):
        raise DataError(
            f"{file}: labels without an image: {some(none)}; its other members are "
            f"{some(sorted(rest)) or 'none'}; {CHOOSE}"
        )
    if images and not labels:
        there = rest.union(*images.values())
        raise DataError(
            f"{file} has no member {' or '.join(label)} with labels, only {some(sorted(there))}; "
            f"{CHOOSE}; if folders in it are classes, unpack it, and give the folder"
        )
    seen.taken.update(suffix for _, suffixes in found for suffix in suffixes)
    seen.others.update(rest)
    if masks:
        seen.left[f"labels of samples without {' or '.join(image)}"] += len(masks)
    return [
        (member, next(iter(labels.get(key, {"": ""}).values())))
        for key, own in images.items()
        for member in own.values()
    ]


def _require_own_split(stored: Mapping[Role, StoredSplit], place: str) -> None:
    """Refuse members in folders that speak of another split than their shard, and masks."""
    for part, (images, _, _) in stored.items():
        names = [images.name(index).rpartition(".tar:")[2] for index in range(len(images))]
        folders_there = dict.fromkeys(name.rpartition("/")[0] for name in names)
        if other := [name for name in folders_there if roles(name) - {part}]:
            raise DataError(
                f"{place}: members of {part} lie in {some(other)}, which speaks of another split: "
                "pack each split into shards of its own, or, if all are meant, `--split train=.`"
            )
        require_no_masks((name.rpartition(".")[0] for name in names), place)


def _keys(labels: Iterable[str]) -> dict[str, str]:
    """The members that have labels, and the key of each where it is a JSON document."""
    parts = (label.partition(".") for label in labels)
    return {
        DOCUMENT if first.lower() == DOCUMENT else f"{first}{dot}{rest}".lower(): rest
        for first, dot, rest in parts
    }


def _is_image(suffix: str) -> bool:
    return folders.is_image(f"image.{suffix}")


def _require_one_image(suffixes: Iterable[str], place: str) -> None:
    """Refuse samples of which some have an image `png`, and others an image `mask.png`."""
    kinds = {suffix.rpartition(".")[0]: suffix for suffix in sorted(suffixes) if _is_image(suffix)}
    if len(kinds) > 1:
        raise DataError(
            f"{place}: the images of some samples are {' and of others '.join(kinds.values())}: "
            f"{CHOOSE}"
        )


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


def _members(
    file: Path, labels: Mapping[str, str], left: Counter[str]
) -> Iterator[tuple[str, str, Member, str | None]]:
    """Key, suffix, place and, of labels, the text of each member of a shard."""
    from webdataset.tariterators import base_plus_ext

    links = []
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                key, suffix = base_plus_ext(member.name)
                member.name.encode()
                text, suffix = None, (suffix or "").lower()
                if member.isdir():
                    continue
                if _hidden(member.name):
                    left["hidden"] += 1
                    continue
                if member.issym() or member.islnk():
                    links.append(member.name)
                    continue
                if key is None or not member.isfile():
                    left["without a suffix" if member.isfile() else "that are no files"] += 1
                    continue
                if suffix in labels and (content := archive.extractfile(member)):
                    whole = content.read(_most(suffix) + 1)
                    text = _text(whole, suffix, labels[suffix], f"{file}: {member.name}")
                place = Member(file, member.name, member.offset_data, member.size)
                yield key, suffix, place, text
            _require_end(file, archive.offset)
    except UnicodeError:
        raise DataError(f"{file}: a name is no UTF-8 text: pack it again") from None
    except (tarfile.TarError, EOFError, OSError, ValueError) as failure:
        raise unreadable(file, failure, "an uncompressed tar file") from None
    if links:
        raise DataError(
            f"{file}: {some(links)} are links to other members or files: pack it again with "
            "`tar --dereference --hard-dereference`"
        )


def _most(suffix: str) -> int:
    return MOST_OF_A_DOCUMENT if suffix == DOCUMENT else MOST_OF_A_LABEL


def _text(content: bytes, suffix: str, key: str, where: str) -> str:
    """The label in a member."""
    if len(content) > _most(suffix):
        raise DataError(f"{where} is too long for a label: {CHOOSE}")
    try:
        text = content.decode()
        value: Any = json.loads(text) if suffix == DOCUMENT else text.strip()
    except UnicodeDecodeError:
        raise DataError(f"{where} is no UTF-8 text: {CHOOSE}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{where} is no JSON: {CHOOSE}") from None
    if key and isinstance(value, dict):
        value = value.get(key)
    if isinstance(value, dict):
        raise DataError(f"{where} has the keys {some(map(brief, value))}: {CHOOSE}")
    if not isinstance(value, str | int | float | None):
        raise DataError(f"{where}: {brief(value)} is no label: {CHOOSE}")
    return "" if value is None else str(value).strip()


def _hidden(name: str) -> bool:
    """As `walk` leaves names of files and folders alone."""
    steps = [step for step in name.split("/") if step.strip(".")]
    return any(s.startswith(".") for s in steps) or any(s.startswith("__") for s in steps[:-1])
