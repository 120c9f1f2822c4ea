"""Folders of images: `class/image.jpg`, or `train/class/image.jpg` with val and test beside it.

Files that are no images by their suffix are left alone, as are hidden ones; images outside a
class folder are unlabelled. Folders that `write` has named are called by the names in its
`classes.txt`.
"""

import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from d3data.images.formats.base import ExportPlan, Sample, read_names, write_names
from d3data.images.formats.index import ImageIndex, Images, Role, StoredSplit, index_images, role
from d3data.images.png import encode_png
from d3data.utils.atomic import replacing
from d3data.utils.hashing import digest

METADATA = "metadata.jsonl"  # what `datasets` looks for
LONGEST = 100  # bytes of a class name in that of its folder; file systems take 255, some 143
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
    re.IGNORECASE,
)
_DEVICE = re.compile(r"(aux|con|nul|prn|(com|lpt)\d)([ .].*)?", re.IGNORECASE)  # on Windows


def is_image(name: str) -> bool:
    """Whether a file counts as an image by its name; HEIC does, so that nobody misses it."""
    return _IMAGE.fullmatch(name) is not None


def read(root: Path) -> ImageIndex:
    """All images below a folder; the folders that hold them are the classes, in order of name.

    The first level is splits where it has a train folder and nothing but split folders.
    """
    roles = {top: role(top, whole=True) for top in _folders(root)}
    in_splits = "train" in roles.values() and None not in roles.values()
    depth = int(in_splits)
    paths: dict[Role, list[str]] = {"train": []}
    for path in _images(root):
        part = roles.get(path.split("/")[0]) if in_splits else None
        paths.setdefault(part or "train", []).append(path)
    stored = {part: _split(root, own, depth) for part, own in paths.items()}
    holders = [root / top for top in roles] if in_splits else [root]
    names = sorted({name for holder in holders for name in _folders(holder)})
    index = index_images(stored, names, str(root))
    listed = read_names(root) or []
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


def _split(root: Path, paths: Sequence[str], depth: int) -> StoredSplit:
    files = [root / path for path in paths]  # a link to nowhere is reported when it is read
    images = Images(len(paths), paths.__getitem__, lambda index: files[index].read_bytes())
    steps = [path.split("/") for path in paths]
    classes = [step[depth] if len(step) > depth + 1 else "" for step in steps]
    sizes = [file.stat().st_size if file.exists() else -1 for file in files]
    identity = digest(f"{path} {size}" for path, size in zip(paths, sizes, strict=True))
    return images, np.array(classes, np.str_), identity


def _folders(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _images(root: Path) -> Iterator[str]:
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        below = Path(folder).relative_to(root)
        yield from ((below / file).as_posix() for file in sorted(files) if is_image(file))
