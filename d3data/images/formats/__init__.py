"""Reads and writes labelled images in common formats, one module each.

hf:ORG/NAME[:CONFIG][@REVISION]    a data set of the Hugging Face Hub
torchvision:CLASS:ROOT             a torchvision data set that is already at ROOT
PATH                               folders of images, Parquet, WebDataset shards, MedMNIST npz
"""

import os
from collections.abc import Mapping
from pathlib import Path

from d3data.errors import DataError
from d3data.images.formats import folders, hub_datasets, npz, parquet, torchvision, webdataset
from d3data.images.formats.base import Writer
from d3data.images.formats.index import ImageIndex

WRITERS: Mapping[str, Writer] = {
    "imagefolder": folders,
    "npz": npz,
    "parquet": parquet,
    "webdataset": webdataset,
}
DEPTH = 4  # levels of folders that are looked at to tell the format
_READERS = {".tar": webdataset.read, "images": folders.read, ".npz": npz.read}


def read(place: str | Path, *, columns: tuple[str, str] | None = None) -> ImageIndex:
    """Index the labelled images of a place; none is decoded.

    `columns` are the image and label column of a table, where they are not named as usual.
    """
    scheme, _, rest = str(place).partition(":")
    if scheme == "hf":
        return hub_datasets.read(rest, columns)
    if scheme == "torchvision":
        return torchvision.read(rest)
    path = Path(place).expanduser()
    if not path.exists():
        raise DataError(
            f"{path} does not exist; give a file or folder, hf:ORG/NAME for a data set of the "
            "Hugging Face Hub, or torchvision:CLASS:ROOT"
        )
    kind = _kind(path)
    if kind == ".parquet":
        return parquet.read(path, columns)
    return _READERS[kind](path)


def _kind(path: Path) -> str:
    """The format of a file by its suffix, or of a folder by the files nearest to its top."""
    suffixes = (".parquet", *_READERS)
    if path.is_file():
        if path.suffix not in suffixes:
            raise DataError(
                f"{path}: a single file must be .parquet, .tar or .npz; or give a folder"
            )
        return path.suffix
    level = [path]
    for depth in range(DEPTH):
        entries = [e for folder in level for e in _entries(folder)]
        names = [entry.name for entry in entries if not entry.is_dir()]
        kinds = {Path(name).suffix for name in names}
        if depth and any(map(folders.is_image, names)):  # at the top they have no class
            kinds.add("images")
        if known := [kind for kind in suffixes if kind in kinds]:
            return known[0]
        level = [Path(entry) for entry in entries if entry.is_dir()]
    return "images"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]
