"""Real images as they are: random ones, all of them, or with a teacher's labels; and means."""

import torch

from d3data.data.dataset import DistilledDataset
from d3data.evaluation.adapters import Photographs
from d3data.evaluation.baselines.base import BaselineContext, RowData, of_rows, random_rows
from d3data.evaluation.protocol_epochs import labels_of_items

FLOAT = 4  # bytes of a label's value


def random(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """Images drawn evenly from each class, with as many values as the set, rounded up."""
    return of_rows(context, random_rows(context.task.train, context.per_class, rng))


def random_bytes(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """Images drawn evenly from each class, with as many bytes as the set at one a value."""
    assert context.bytes is not None, "baselines of equal bytes need bytes"
    each = -(-context.bytes // (context.classes * context.pixels))
    return of_rows(context, random_rows(context.task.train, each, rng))


def soft(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """Random images with a teacher's probabilities as labels.

    Labels are counted among the values: "a label is worth a thousand images"
    (Qin et al. 2024, arXiv 2406.10485).
    """
    each = context.pixels + context.classes  # values of an image and its label
    per_class = context.per_class
    if context.values is not None:
        per_class = -(-context.values // (context.classes * each))
    rows = random_rows(context.task.train, per_class, rng)
    images = context.task.train.read(rows)
    data = Photographs(images, context.probabilities(images))
    size = len(rows) * (context.pixels + FLOAT * context.classes)
    return RowData(data, per_class, len(rows) * each, size)


def means(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """The means of the set's priors: one image of each, the same in every epoch."""
    data = context.data
    assert isinstance(data, DistilledDataset), "means are of priors"
    latents = data.drawer.mean_latents(range(len(data.drawer.item_classes)))
    images = data.drawer.decode(latents, residual=False)
    return RowData(Photographs(images, labels_of_items(data)), None, context.values, context.bytes)


def real(context: BaselineContext, *, rng: torch.Generator) -> RowData:
    """All train images, for as many steps as the set is trained on."""
    train = context.task.train
    values = len(train) * context.pixels
    each = len(train) // context.classes
    return RowData(Photographs(train, train.labels), each, values, values, steps=context.steps)
