"""A recipe for one's own images, from a look at them and a number of bytes."""

import re

from d3data.distill.budget import FLOAT, plan_budget
from d3data.distill.experts import NetworkSpec
from d3data.distill.objectives import MeanMatching
from d3data.distill.recipe import Optimizer, Recipe, WarmStart
from d3data.errors import BudgetError, DataError
from d3data.images.scan import ImageScan
from d3data.images.spec import Image

UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "kib": 1024, "mib": 1024**2}
STEPS = 200


def suggest(scan: ImageScan, *, size: int) -> Recipe:
    """A recipe whose artifact takes about `size` bytes: warm start, then mean matching.

    The path of the images is left out, as it is one of this machine.

    Raises:
        DataError: the images have problems, which it lists.
        BudgetError: nothing fits into so few bytes.
    """
    if scan.problems:
        raise DataError(f"{scan.place}: {'; '.join(scan.problems)}")
    assert scan.spec.channels is not None
    assert scan.spec.size is not None
    side = affordable(scan.spec.size, scan.spec.channels, size)
    spec = scan.spec.model_copy(update={"data": None, "size": side})
    assert spec.channels is not None
    middle = (0.5,) * spec.channels
    image = Image(channels=spec.channels, size=side, mean=middle, std=middle)
    least = min(scan.counts["train"])
    available = least - max(1, round(spec.validation * least))  # without the validation images
    classes = len(scan.classes)
    bought = plan_budget(image, classes=classes, size=size, most_per_class=available)
    return Recipe(
        name=spec.name,
        description=f"{classes} classes of {spec.name}",
        steps=STEPS,
        items_per_class=bought.items_per_class,
        draws_per_class=max(128, bought.items_per_class),
        task=spec,
        source=bought.source,
        warm_start=WarmStart(steps=1200, batch=64, kl=0.1, width=16),
        objective=MeanMatching(
            network=NetworkSpec(width=16), samples=16, real=32, augment="siamese-noflip"
        ),
        optimizers={
            "priors": Optimizer(learning_rate=5e-3, schedule="cosine"),
            "decoder": Optimizer(learning_rate=1e-3, schedule="cosine"),
            "residual": Optimizer(learning_rate=1e-3, schedule="cosine"),
        },
    )


def affordable(side: int, channels: int, size: int) -> int:
    """The pixels of a side: `side`, halved until an image has at most half the budget's values.

    >>> affordable(224, 3, 100_000), affordable(32, 1, 100_000), affordable(8, 1, 600)
    (56, 32, 8)
    """
    while side >= 16 and 2 * channels * side**2 > size / FLOAT:
        side //= 2
    return side


def parse_size(text: str) -> int:
    """Bytes from what a person writes.

    >>> parse_size("100kB"), parse_size("1.5 MiB"), parse_size("4000")
    (100000, 1572864, 4000)

    Raises:
        BudgetError: it is not a size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmM]?i?[bB]?)", text.strip())
    if not match or match[2].lower() not in UNITS:
        raise BudgetError(f"{text!r} is not a size: write bytes, or a size such as 100kB or 1.5MB")
    return round(float(match[1]) * UNITS[match[2].lower()])
