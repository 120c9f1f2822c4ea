"""Data sets of the library `datasets`: read from the Hugging Face Hub, or made of samples.

A place is written `ORG/NAME[:CONFIG][@REVISION]`. Images stay encoded in the memory-mapped Arrow
files of the cache of `datasets`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from d3data.errors import DataError
from d3data.images.formats import tables
from d3data.images.formats.base import Sample
from d3data.images.formats.index import Collection, Portion, Role, classified, role
from d3data.images.png import png
from d3data.utils.hashing import digest

if TYPE_CHECKING:
    from PIL import Image

Samples = Callable[[int, int], Iterator[Sample]]  # those from one number to another

_EXPORT = "refs/convert/parquet"  # where the Hub keeps Parquet copies, a folder for each config


class Rows:
    """The images in one column of a `datasets.Dataset`."""

    def __init__(self, dataset: Any, column: str, place: str) -> None:
        self.place = place
        self._cells = dataset.data.column(column)
        self._feature = dataset.features[column]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._cells)

    def name(self, index: int) -> str:
        """The data set, the split and the row."""
        return f"{self.place} row {index}"

    def read(self, index: int) -> "bytes | Image.Image":
        """The encoded image, or the one that its path leads to in the cache."""
        cell = self._cells[index].as_py()
        if isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path"):
            image: Image.Image = self._feature.decode_example(cell)
            return image
        return tables.encoded(cell)


def read(reference: str, columns: tuple[str, str] | None = None) -> Collection:
    """Fetch a data set, or find it in the cache, and index its splits.

    Raises:
        DataError: it cannot be fetched, or has no columns of images and labels.
    """
    found = _fetch(reference)
    schema = found["train"].features.arrow_schema
    image, label = tables.columns(schema, reference, columns)
    values = {
        part: tables.values(dataset.data.column(label), reference)
        for part, dataset in found.items()
    }
    classes, labels = classified(values, tables.class_names(schema, label), reference)
    portions = {
        part: Portion(
            Rows(dataset, image, f"{reference} {part}"),
            labels[part],
            digest([reference, part, str(len(dataset)), str(dataset.info.dataset_size)]),
        )
        for part, dataset in found.items()
    }
    return Collection(classes, portions, f"hf:{reference}")


def _fetch(reference: str) -> dict[Role, Any]:
    import datasets

    target, _, revision = reference.partition("@")
    repository, _, config = target.partition(":")
    place = {"data_dir" if revision == _EXPORT else "name": config or None}
    try:
        found = datasets.load_dataset(repository, revision=revision or None, **place)
    except Exception as failure:  # datasets raises of many kinds, its own and the network's
        reason = str(failure).partition("\n")[0]
        raise DataError(
            f"hf:{reference} cannot be fetched from the Hugging Face Hub ({reason})"
        ) from failure
    parts = {part: split for name, split in found.items() if (part := role(name))}
    if "train" not in parts:
        raise DataError(f"hf:{reference} has no train split, but {', '.join(found)}")
    return parts


def features(classes: Sequence[str], *, soft: bool) -> Any:
    """The columns of a set as a `datasets.Features`: image, label and, where soft, soft_label."""
    import datasets

    return datasets.Features.from_dict(tables.features(classes, soft=soft))


def stored(
    samples: Samples, cuts: list[range], *, classes: Sequence[str], soft: bool, identity: str
) -> Any:
    """A `datasets.Dataset` of samples in the cache, which is looked up there by its identity."""
    import datasets

    return datasets.Dataset.from_generator(
        _rows,
        features=features(classes, soft=soft),
        gen_kwargs={"samples": samples, "cuts": cuts},
        fingerprint=identity,
    )


def streamed(samples: Samples, cuts: list[range], *, classes: Sequence[str], soft: bool) -> Any:
    """A `datasets.IterableDataset` of samples, of which each cut is a shard."""
    import datasets

    return datasets.IterableDataset.from_generator(
        _rows,
        features=features(classes, soft=soft),
        gen_kwargs={"samples": samples, "cuts": cuts},
    )


def _rows(samples: Samples, cuts: list[range]) -> Iterator[dict[str, Any]]:
    for cut in cuts:
        for pixels, label, soft in samples(cut.start, cut.stop):
            row = {"image": {"bytes": png(pixels), "path": None}, "label": label}
            yield row if soft is None else {**row, "soft_label": soft.tolist()}
