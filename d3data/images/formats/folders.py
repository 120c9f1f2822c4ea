"""Folders of images: `class/image.jpg`, or `train/class/image.jpg` with val and test beside it.

What counts as an image is told by its name. Images outside a class folder are unlabelled. Folders
that `write` has named are called by the names in its `classes.txt`.
"""

import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from d3data.errors import DataError
from d3data.images.formats import metadata
from d3data.images.formats.base import NAMES, ExportPlan, Sample, read_names, write_names
from d3data.images.formats.class_folders import Placed, arrange, class_names
from d3data.images.formats.files import Listing, walk
from d3data.images.formats.index import ImageIndex, Images, StoredSplit, index_images
from d3data.images.formats.layout import (
    Role,
    Splits,
    are_met,
    by_rows,
    require_no_masks,
    roles,
)
from d3data.images.png import encode_png
from d3data.utils.atomic import replacing
from d3data.utils.hashing import digest
from d3data.utils.text import counted, some

METADATA = "metadata.jsonl"  # what `datasets` looks for
LONGEST = 100  # bytes of a class name in that of its folder; file systems take 255, some 143
SNIFFED = 16  # files of each other suffix that are looked into
LISTS = (".csv", ".json", ".jsonl", ".lst", ".tsv", ".txt")
FILES = "train/**"
HOW = """\
`torchvision.datasets.ImageFolder("train")` reads the images. Its class k is line k, counted from
0, of `classes.txt`: folders have the names of the classes where these are safe names, and numbers
before them where they are not. `datasets.load_dataset("./")` reads the same, and calls the classes
as the folders are called. Where the set has soft labels, `train/metadata.jsonl` has a line for
each image with its file name, class id and soft label, which `load_dataset` makes columns of.
"""

_IMAGE = re.compile(
    r"[^.].*\.(apng|avif|bmp|gif|hei[cf]|j2k|jfif|jp2|jpe?g?|jpx|p[bgnp]m|png|tga|tiff?|webp)",
    re.IGNORECASE | re.DOTALL,
)
_DEVICE = re.compile(r"(aux|con|nul|prn|(com|lpt)\d)([ .].*)?", re.IGNORECASE)  # on Windows


def is_image(name: str) -> bool:
    """Whether a file counts as an image by its name; HEIC does, so that nobody misses it."""
    return _IMAGE.fullmatch(name) is not None


def read(
    place: Path | Listing, wanted: tuple[str, str] | None = None, splits: Splits | None = None
) -> ImageIndex:
    """All images below a folder, in classes as `class_folders` or the metadata beside them say."""
    listing = walk(place)
    tables = metadata.described(listing)
    found = metadata.read(listing, tables, wanted) if tables else None
    if wanted and not found:
        raise DataError(
            f"{listing.place} is a folder of images, which has no columns {some(wanted)}: "
            "leave out --columns (columns=...)"
        )
    labels = found.labels if found else {}
    images = [file for file in listing.files if file in labels or is_image(file.split("/")[-1])]
    described = {table.rpartition("/")[0] for table in tables if found}
    column = found.split_column if found else None
    chosen = splits if splits and (not column or are_met(splits, images)) else None
    parts = arrange(images, listing.place, chosen, described)
    listed = read_names(listing.root) or []
    note = f"not read: {some(tables)}, without a column of labels" if tables else ""
    note = found.columns if found else note
    if found:
        metadata.require_complete(labels, images, listing)
        if column and chosen:
            note = f"{note}; not {column}"
        elif column:
            parts, note = _by_column(parts, found, listing.place, splits)
        kinds = {part: [labels[placed.path] for placed in own] for part, own in parts.items()}
        numbers = all(isinstance(label, int) for label in labels.values())
        names = listed if listed and numbers else None
    else:
        kinds, names = class_names(parts, _empty(listing), listing.place)
    seen = {path: _seen(listing.root / path) for path in images}
    if not found:
        _require_once(parts, kinds, seen, listing.place)
    stored = {
        part: _split(listing.root, [placed.path for placed in own], kinds[part], seen)
        for part, own in parts.items()
    }
    by_list = bool(listed) and names in (listed, folder_names(listed))
    used = {*images, *tables, *([NAMES] if by_list else [])}
    if not splits:
        require_no_masks(
            [] if found else (path.rpartition(".")[0] for path in images), listing.place
        )
        _require_no_lists(listing, used, parts)
    _require_no_others(listing, used)
    left = len(images) - sum(map(len, parts.values()))
    unchosen = f"left out: {counted(left, 'image')} of no split that is chosen" if left else ""
    notes = [note, unchosen, listing.rest(used)]
    index = index_images(stored, names, listing.place, notes=notes, spare=bool(found))
    return replace(index, classes=tuple(listed)) if folder_names(listed) == names else index


def write(plan: ExportPlan, shard: int, samples: Iterable[Sample]) -> None:
    """Write images as `split/class/00000000.png`, numbered over all classes."""
    split = plan.folder / plan.split
    names = folder_names(plan.classes)
    for name in names:
        (split / name).mkdir(parents=True, exist_ok=True)
    with replacing(plan.piece(METADATA, shard)) as temporary, temporary.open("w") as lines:
        for number, (pixels, label, soft) in zip(plan.rows(shard), samples, strict=True):
            path = f"{names[label]}/{number:08d}.png"
            (split / path).write_bytes(encode_png(pixels))
            if soft is not None:
                entry = {"file_name": path, "label": label, "soft_label": soft.tolist()}
                lines.write(f"{json.dumps(entry)}\n")
        os.sync()  # one for all files, which is many times as fast as one for each


def finish(plan: ExportPlan) -> None:
    """Write `classes.txt`, and `metadata.jsonl` where labels are soft."""
    write_names(plan.folder, plan.classes)
    if plan.soft:
        with replacing(plan.folder / plan.split / METADATA) as path, path.open("wb") as whole:
            for piece in plan.pieces(METADATA):
                with piece.open("rb") as lines:
                    shutil.copyfileobj(lines, whole)


def folder_names(classes: Sequence[str]) -> list[str]:
    """Names that sort as the classes do and are safe as folders on any system.

    They are the classes' own where all of these are safe, sorted and different even to a system
    that ignores case; or else every one begins with its number.

    >>> folder_names(["ant", "bee"]), folder_names(["Ant", "ant", "a/b"])
    (['ant', 'bee'], ['0 Ant', '1 ant', '2 a_b'])
    """
    safe = [_safe(name) for name in classes]
    different = len({name.casefold() for name in safe}) == len(classes)
    if safe == sorted(classes) == list(classes) and different and all(safe):
        return safe
    width = len(str(len(classes) - 1))
    return [f"{label:0{width}d} {name}".strip() for label, name in enumerate(safe)]


def _safe(name: str) -> str:
    name = re.sub(r"[^\w .()&,+-]+", "_", unicodedata.normalize("NFC", name))
    name = name.encode()[:LONGEST].decode(errors="ignore").strip(" .-")
    return f"{name}_" if _DEVICE.fullmatch(name) else name


class Seen(NamedTuple):
    """Size in bytes of a file, and what is the same for all its names; or -1 and nothing."""

    size: int
    file: tuple[int, int] | None


def _seen(path: Path) -> Seen:
    try:
        status = path.stat()
    except OSError:  # such as a link to nowhere, which is reported when it is read
        return Seen(-1, None)
    return Seen(status.st_size, (status.st_dev, status.st_ino))


def _split(
    root: Path, paths: Sequence[str], labels: Sequence[object], seen: Mapping[str, Seen]
) -> StoredSplit:
    images = Images(
        len(paths), paths.__getitem__, lambda index: (root / paths[index]).read_bytes()
    )
    identity = digest(f"{path} {seen[path].size}" for path in paths)
    return images, np.array(labels, None if len(labels) else np.str_), identity


def _by_column(
    parts: dict[Role, list[Placed]], found: metadata.Rows, place: str, splits: Splits | None
) -> tuple[dict[Role, list[Placed]], str]:
    """The images by the splits that rows say, and what was taken."""
    said = {part: [found.splits[placed.path] for placed in own] for part, own in parts.items()}
    rows = by_rows(said, str(found.split_column), place, splits)
    if rows is None:
        return parts, f"{found.columns}; not {found.split_column}"
    return {part: [parts["train"][row] for row in own] for part, own in rows.items()}, (
        f"{found.columns}; splits: column {found.split_column}"
    )


def _require_once(
    parts: Mapping[Role, Sequence[Placed]],
    kinds: Mapping[Role, Sequence[str]],
    seen: Mapping[str, Seen],
    place: str,
) -> None:
    """Refuse a file that lies, through links, in two classes or splits."""
    first: dict[object, tuple[Role, str, str]] = {}
    for part, own in parts.items():
        for placed, kind in zip(own, kinds[part], strict=True):
            known = seen[placed.path].file or placed.path
            role, name, path = first.setdefault(known, (part, kind, placed.path))
            if (role, name) != (part, kind):
                raise DataError(
                    f"{place}: {path} and {placed.path} are one file: remove one of the links"
                )


def _require_no_others(listing: Listing, used: set[str]) -> None:
    """Refuse images that are not read, as their names do not end as those of images do."""
    from PIL import Image

    others: dict[str, list[str]] = {}
    for file in listing.files:
        if file not in used:
            others.setdefault(PurePosixPath(file).suffix.lower(), []).append(file)
    for suffix, own in others.items():
        for file in islice(own, SNIFFED):
            try:
                with Image.open(listing.root / file):
                    pass
            except Exception:  # noqa: S112 - decoders raise of every kind where it is no image
                continue
            raise DataError(
                f"{listing.place}: {file} is an image whose name does not end as one, as may be "
                f"{counted(len(own), 'file')} {suffix or 'without a suffix'}: rename them so that "
                "they end in .png or .jpg, or move them away"
            )


def _require_no_lists(
    listing: Listing, used: set[str], parts: Mapping[Role, Sequence[Placed]]
) -> None:
    """Refuse lists, such as `train.txt` and `test.txt`, that say splits which are not read."""
    lists = [
        file
        for file in listing.files
        if file not in used and PurePosixPath(file).suffix.lower() in LISTS
    ]
    spoken = set().union(*(roles(PurePosixPath(file).stem) for file in lists))
    if len(spoken) > 1 and not any(own for part, own in parts.items() if part != "train"):
        listed = some(file for file in lists if roles(PurePosixPath(file).stem))
        raise DataError(
            f"{listing.place}: {listed} may say which images are of which split, and are not "
            "read: put the images of each split into a folder, or, if all are to train on, say "
            "so, `--split train=.`"
        )


def _empty(listing: Listing) -> list[str]:
    """Folders without any file below."""
    holders = {file.rpartition("/")[0] for file in listing.files}
    full = {*holders, *(str(above) for name in holders for above in PurePosixPath(name).parents)}
    return [folder for folder in listing.folders if folder not in full]
