"""Labelled images in other people's formats, one module each: its reading and its writing.

hf:ORG/NAME[:CONFIG][@REVISION]    a data set of the Hugging Face Hub
torchvision:CLASS:ROOT             a torchvision data set that is already at ROOT
PATH                               folders of images, Parquet, WebDataset shards, MedMNIST npz
"""

import os
from pathlib import Path

from d3data.errors import DataError
from d3data.formats import folders, hub_datasets, npz, parquet, torchvision, webdataset
from d3data.formats.collection import Collection

_READERS = {".tar": webdataset.read, ".npz": npz.read}


def read(place: str | Path, *, columns: tuple[str, str] | None = None) -> Collection:
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
    return _READERS.get(kind, folders.read)(path)


def _kind(path: Path) -> str:
    """The suffix that tells the format: that of the file, or of the files nearest the top."""
    telling = (".parquet", *_READERS)
    if path.is_file():
        if path.suffix not in telling:
            raise DataError(f"{path}: a single file is .parquet, .tar or .npz; or give a folder")
        return path.suffix
    for folder, subfolders, files in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found = {Path(folder, file).suffix for file in files}
        if kinds := [kind for kind in telling if kind in found]:
            return kinds[0]
        if any(folders.is_image(file) for file in files):
            break
    return ""
