"""Data sets of the library `datasets`: read from the Hugging Face Hub, or made of samples.

A place is written `ORG/NAME[:CONFIG][@REVISION]`. Images stay encoded in the memory-mapped Arrow
files of the cache of `datasets`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from d3data.errors import DataError
from d3data.images.formats import parquet
from d3data.images.formats.base import Sample
from d3data.images.formats.columns import (
    class_names,
    columns,
    features_of,
    split_column,
    taken,
    texts,
    values,
)
from d3data.images.formats.index import ImageIndex, Images, index_images, some_rows
from d3data.images.formats.layout import Splits, are_met, by_name, by_rows
from d3data.images.png import encode_png
from d3data.utils.hashing import digest
from d3data.utils.text import some

if TYPE_CHECKING:
    from PIL import Image

Samples = Callable[[int, int], Iterator[Sample]]  # those from one number to another

_EXPORT = "refs/convert/parquet"  # where the Hub keeps Parquet copies, a folder for each config


def read(
    reference: str, wanted: tuple[str, str] | None = None, splits: Splits | None = None
) -> ImageIndex:
    """Fetch a data set, or find it in the cache, and index its splits."""
    place = f"hf:{reference}"
    loaded = _load(reference)
    schema = next(iter(loaded.values())).features.arrow_schema
    divided = split_column(schema, wanted or ())
    chosen = splits if splits and (not divided or are_met(splits, loaded)) else None
    parts = {part: loaded[name] for part, name in by_name([*loaded], place, chosen).items()}
    image, label = columns(schema, place, wanted)
    stored = {
        part: (
            _images(dataset, image, f"{reference} {part}"),
            values(dataset.data.column(label), place),
            digest([reference, part, str(len(dataset)), str(dataset.info.dataset_size)]),
        )
        for part, dataset in parts.items()
    }
    rows = None
    if divided and not chosen and divided not in (image, label):
        feature = features_of(schema).get(divided)
        said = {part: texts(own.data.column(divided), feature) for part, own in parts.items()}
        if rows := by_rows(said, divided, place, splits):
            stored = {part: some_rows(stored["train"], own, part) for part, own in rows.items()}
    notes = [taken(image, label, schema, divided if rows else None)]
    if left := [name for name in loaded if all(loaded[name] is not own for own in parts.values())]:
        notes.append(f"left out: {some(left)}")
    return index_images(stored, class_names(schema, label), place, notes=notes)


def _images(dataset: Any, column: str, place: str) -> Images:
    """The encoded images of a column, or those that paths in it lead to in the cache."""
    cells, feature = dataset.data.column(column), dataset.features[column]

    def read(index: int) -> "bytes | Image.Image":
        cell = cells[index].as_py()
        if isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path"):
            image: Image.Image = feature.decode_example(cell)
            return image
        return parquet.encoded(cell)

    return Images(len(cells), lambda index: f"{place} row {index}", read)


def _load(reference: str) -> Mapping[str, Any]:
    import datasets

    target, _, revision = reference.partition("@")
    repository, _, config = target.partition(":")
    place = {"data_dir" if revision == _EXPORT else "name": config or None}
    retries = logging.getLogger("huggingface_hub")  # the error says it once
    level = retries.level
    retries.setLevel(logging.ERROR)
    try:
        found: Mapping[str, Any] = datasets.load_dataset(
            repository, revision=revision or None, **place
        )
    except Exception as failure:  # datasets raises of many kinds, its own and the network's
        reason = str(failure).partition("\n")[0]
        raise DataError(
            f"hf:{reference} cannot be loaded from the Hugging Face Hub ({reason})"
        ) from failure
    finally:
        retries.setLevel(level)
    return found


def features(classes: Sequence[str], *, soft: bool) -> Any:
    """The columns of a set as a `datasets.Features`: image, label and, where soft, soft_label."""
    import datasets

    return datasets.Features.from_dict(parquet.features(classes, soft=soft))


def to_dataset(
    samples: Samples,
    cuts: list[range],
    *,
    classes: Sequence[str],
    soft: bool,
    identity: str | None = None,
) -> Any:
    """A `datasets.Dataset` of samples, looked up in the cache by its identity.

    Without an identity, a `datasets.IterableDataset` of which each cut is a shard.
    """
    import datasets

    arguments = {"samples": samples, "cuts": cuts}
    columns = features(classes, soft=soft)
    if identity is None:
        return datasets.IterableDataset.from_generator(_rows, columns, gen_kwargs=arguments)
    return datasets.Dataset.from_generator(
        _rows, columns, gen_kwargs=arguments, fingerprint=identity
    )


def _rows(samples: Samples, cuts: list[range]) -> Iterator[dict[str, Any]]:
    for cut in cuts:
        for pixels, label, soft in samples(cut.start, cut.stop):
            row = {"image": {"bytes": encode_png(pixels), "path": None}, "label": label}
            yield row if soft is None else {**row, "soft_label": soft.tolist()}
