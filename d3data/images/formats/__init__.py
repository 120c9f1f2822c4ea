"""Reads and writes labelled images in common formats, one module each.

hf:ORG/NAME[:CONFIG][@REVISION]    a data set of the Hugging Face Hub
torchvision:CLASS:ROOT             a torchvision data set that is already at ROOT
PATH                               folders of images, Parquet, WebDataset shards, MedMNIST npz
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from d3data.errors import DataError
from d3data.images.formats import (
    folders,
    hub_datasets,
    metadata,
    npz,
    parquet,
    torchvision,
    webdataset,
)
from d3data.images.formats.base import Writer
from d3data.images.formats.files import Listing, walk
from d3data.images.formats.index import ImageIndex
from d3data.images.formats.layout import Splits
from d3data.utils.paths import expanded
from d3data.utils.text import counted, some

WRITERS: Mapping[str, Writer] = {
    "imagefolder": folders,
    "npz": npz,
    "parquet": parquet,
    "webdataset": webdataset,
}
_READERS = {
    parquet.SUFFIX: parquet.read,
    webdataset.SUFFIX: webdataset.read,
    npz.SUFFIX: npz.read,
    "images": folders.read,
}


def read(
    place: str | Path, *, columns: tuple[str, str] | None = None, splits: Splits | None = None
) -> ImageIndex:
    """Index the labelled images of a place; none is decoded.

    `columns` are the image and label column of a table, or the members of shards, where they are
    not named as usual, `splits` a pattern of names for each split, where these are not plain.
    """
    scheme, _, rest = str(place).partition(":")
    if scheme == "hf":
        return hub_datasets.read(rest, columns, splits)
    if scheme == "torchvision":
        return torchvision.read(rest, columns, splits)
    try:
        path = expanded(place)
        str(path).encode()
        there = path.exists()
    except (OSError, ValueError) as failure:  # such as a null character
        raise DataError(f"{place!a} is not a path that can be used ({failure})") from None
    if not there:
        raise DataError(
            f"{path} does not exist; give a file or folder, hf:ORG/NAME for a data set of the "
            "Hugging Face Hub, or torchvision:CLASS:ROOT"
        )
    listing = walk(path)
    return _READERS[_kind(listing)](listing, columns, splits)


def _kind(listing: Listing) -> str:
    """The format of a file by its suffix, or of a folder by those of the files below it."""
    counts = Counter(map(_kind_of, listing.files))
    kinds = [kind for kind in _READERS if counts[kind]]
    if listing.single and (not kinds or "images" in kinds):
        raise DataError(
            f"{listing.place}: a single file must be .parquet, .tar or .npz; or give a folder"
        )
    if len(kinds) > 1:
        found = some(
            counted(counts[kind], f"{kind} file".replace("images file", "image")) for kind in kinds
        )
        raise DataError(
            f"{listing.place} has {found}: give the file or folder of one kind, or move the "
            "others away"
        )
    return kinds[0] if kinds else "images"


def _kind_of(file: str) -> str:
    folder, _, name = file.rpartition("/")
    if name.lower() in metadata.NAMES:
        return "images"
    if folders.is_image(name):
        return "images" if folder else ""  # at the top they have no class
    return next((kind for kind in _READERS if name.lower().endswith(kind)), "")
