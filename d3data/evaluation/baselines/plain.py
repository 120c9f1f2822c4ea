"""Real images as they are: random ones, all of them, and with a teacher's labels."""

import torch
from torch import Tensor

from d3data.dataset import DistilledDataset
from d3data.errors import DataError
from d3data.evaluation.baselines.setting import (
    Photographs,
    Rival,
    Setting,
    chosen,
    drawn,
)
from d3data.evaluation.others import Pictures

FLOAT = 4  # bytes


def random(setting: Setting, *, rng: torch.Generator) -> Rival:
    """Images drawn evenly from each class, of as many values as the set, or a few more."""
    return chosen(setting, drawn(setting.task.train, setting.per_class, rng))


def random_bytes(setting: Setting, *, rng: torch.Generator) -> Rival:
    """Images drawn evenly from each class, of as many bytes as the set: one byte a value."""
    each = max(1, round(setting.bytes_of_set() / (setting.classes * setting.pixels)))
    return chosen(setting, drawn(setting.task.train, each, rng))


def soft(setting: Setting, *, rng: torch.Generator) -> Rival:
    """The images of `random`, with probabilities that a network trained on all images gives.

    Their values are counted with those of the images: "a label is worth a thousand images"
    (Qin et al. 2024, arXiv 2406.10485).
    """
    each = setting.pixels + setting.classes
    per_class = setting.per_class
    if setting.values is not None:
        per_class = -(-setting.values // (setting.classes * each))
    rows = drawn(setting.task.train, per_class, rng)
    images = setting.task.train.read(rows)
    labels = setting.probabilities(images)
    size = len(rows) * (setting.pixels + FLOAT * setting.classes)
    return Rival(Photographs(images, labels), per_class, len(rows) * each, size)


def means(setting: Setting, *, rng: torch.Generator) -> Rival:
    """The set's own priors without their noise: one image of each, the same in every epoch.

    Raises:
        DataError: the set has no priors.
    """
    data = setting.draws
    if not isinstance(data, DistilledDataset) or not data.drawer.sources[0].latent_values:
        raise DataError("the baseline `means` needs Gaussian priors: leave it out for this set")
    items = range(len(data.drawer.item_classes))
    images = data.drawer.decode(data.drawer.mean_latents(list(items)), residual=False)
    labels: Tensor = torch.from_numpy(data.drawer.item_classes)
    known = data.drawer.soft_labels()
    still = Photographs(images, labels if known is None else known)
    return Rival(still, None, setting.values, setting.bytes)


def real(setting: Setting, *, rng: torch.Generator) -> Rival:
    """All train images, for as many steps as the protocol has."""
    train = setting.task.train
    values = len(train) * setting.pixels
    return Rival(Pictures(train), len(train) // setting.classes, values, values)
