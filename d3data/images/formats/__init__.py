"""Labelled images in other people's formats, one module each: its reading and its writing.

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

    Args:
        place: a path, or `hf:...` or `torchvision:...` as above.
        columns: image and label column of a table, where they are not named as usual.

    Raises:
        DataError: nothing is there, or nothing that can be read.
    """
    scheme, _, rest = str(place).partition(":")
    if scheme == "hf":
        return hub_datasets.read(rest, columns)
    if scheme == "torchvision":
        return torchvision.read(rest)
    path = Path(place).expanduser()
    if not path.exists():
        raise DataError(
            f"{path} does not exist; --data takes a file or folder, hf:ORG/NAME for a data set of "
            "the Hugging Face Hub, or torchvision:CLASS:ROOT"
        )
    kind = _kind(path)
    if kind == ".parquet":
        return parquet.read(path, columns)
    return _READERS[kind](path)


def _kind(path: Path) -> str:
    """What a file is by its suffix, or a folder by the files nearest to its top."""
    telling = (".parquet", *_READERS)
    if path.is_file():
        if path.suffix not in telling:
            raise DataError(f"{path}: a single file is .parquet, .tar or .npz; or give a folder")
        return path.suffix
    level = [path]
    for depth in range(DEPTH):
        entries = [e for folder in level for e in _entries(folder)]
        names = [entry.name for entry in entries if not entry.is_dir()]
        found = {Path(name).suffix for name in names}
        if depth and any(map(folders.is_image, names)):  # at the top they have no class
            found.add("images")
        if kinds := [kind for kind in telling if kind in found]:
            return kinds[0]
        level = [Path(entry) for entry in entries if entry.is_dir()]
    return "images"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]
