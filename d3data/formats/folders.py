"""Folders of images: `class/image.jpg`, or `train/class/image.jpg` with val and test beside it.

Files that are no images by their suffix are left alone, as are hidden ones; images outside a
class folder are unlabelled.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from d3data.files import write_bytes
from d3data.formats.collection import Collection, Portion, Role, classified, digest, png, role

_IMAGE = re.compile(
    r"[^.].*\.(apng|avif|bmp|gif|hei[cf]|j2k|jfif|jp2|jpe?g?|jpx|p[bgnp]m|png|tga|tiff?|webp)",
    re.IGNORECASE,
)


class Files:
    """Image files by their paths below `root`, in which `/` separates folders."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root, self.paths = root, paths

    def __len__(self) -> int:
        """How many there are."""
        return len(self.paths)

    def name(self, index: int) -> str:
        """The path below the root."""
        return self.paths[index]

    def read(self, index: int) -> bytes:
        """The bytes of the file."""
        return (self.root / self.paths[index]).read_bytes()


def is_image(name: str) -> bool:
    """Whether a file counts as an image by its name; HEIC does, so that nobody misses it."""
    return _IMAGE.fullmatch(name) is not None


def read(root: Path) -> Collection:
    """All images below a folder; the folders that hold them are the classes, in ASCII order.

    The first level is splits where it has a train folder and nothing but split folders.
    """
    tops = _folders(root)
    roles = {top: role(top, whole=True) for top in tops}
    in_splits = "train" in roles.values() and None not in roles.values()
    depth = int(in_splits)
    paths: dict[Role, list[str]] = {"train": []}
    for path in _images(root):
        part = roles.get(path.split("/")[0]) if in_splits else None
        paths.setdefault(part or "train", []).append(path)
    values = {p: np.array([_class(x, depth) for x in own], np.str_) for p, own in paths.items()}
    holders = [root / top for top in tops] if in_splits else [root]
    names = sorted({name for holder in holders for name in _folders(holder)})
    classes, labels = classified(values, names, str(root))
    portions = {
        part: Portion(Files(root, own), labels[part], _identity(root, own))
        for part, own in paths.items()
    }
    return Collection(classes, portions, str(root))


def write(
    folder: Path, samples: Iterable[tuple[Tensor, int]], *, classes: Sequence[str], split: str
) -> Path:
    """Write images (C, H, W) of uint8 and their labels as `split/class/000000.png`."""
    names = folder_names(classes)
    for index, (pixels, label) in enumerate(samples):
        write_bytes(folder / split / names[label] / f"{index:06d}.png", png(pixels))
    return folder / split


def folder_names(classes: Sequence[str]) -> list[str]:
    """Names that sort as the classes do and are safe as folders: numbered, where need be."""
    safe = [re.sub(r"[^\w .()&,+-]+", "_", name).strip(" .") for name in classes]
    if safe == list(classes) and safe == sorted(set(safe)):
        return safe
    width = len(str(len(classes) - 1))
    return [f"{label:0{width}d} {name}".strip() for label, name in enumerate(safe)]


def _folders(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _images(root: Path) -> Iterator[str]:
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        below = Path(folder).relative_to(root)
        yield from ((below / file).as_posix() for file in sorted(files) if is_image(file))


def _class(path: str, depth: int) -> str:
    steps = path.split("/")
    return steps[depth] if len(steps) > depth + 1 else ""


def _identity(root: Path, paths: Sequence[str]) -> str:
    return digest(f"{path} {_bytes(root / path)}" for path in paths)


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1  # a link to nowhere: broken, when read
