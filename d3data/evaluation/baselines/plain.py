"""Real images as they are: random ones, all of them, and with a teacher's labels."""

import torch

from d3data.data.dataset import DistilledDataset
from d3data.errors import DataError
from d3data.evaluation.adapters import Pictures
from d3data.evaluation.baselines.setting import Photographs, Rival, Setting, chosen, drawn
from d3data.evaluation.protocol_epochs import has_priors, labels_of_items

FLOAT = 4  # bytes


def random(setting: Setting, *, rng: torch.Generator) -> Rival:
    """Images drawn evenly from each class, of as many values as the set, or a few more."""
    return chosen(setting, drawn(setting.task.train, setting.per_class, rng))


def random_bytes(setting: Setting, *, rng: torch.Generator) -> Rival:
    """Images drawn evenly from each class, one byte a value, of the set's bytes or a few more."""
    each = -(-setting.bytes_of_set() // (setting.classes * setting.pixels))
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
    if not isinstance(data, DistilledDataset) or not has_priors(data):
        raise DataError("the baseline `means` needs Gaussian priors: leave it out for this set")
    items = range(len(data.drawer.item_classes))
    images = data.drawer.decode(data.drawer.mean_latents(list(items)), residual=False)
    return Rival(Photographs(images, labels_of_items(data)), None, setting.values, setting.bytes)


def real(setting: Setting, *, rng: torch.Generator) -> Rival:
    """All train images, for as many steps as the set is trained on."""
    train = setting.task.train
    values = len(train) * setting.pixels
    each = len(train) // setting.classes
    return Rival(Pictures(train), each, values, values, steps=setting.steps)
