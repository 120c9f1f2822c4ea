"""Recipes for one's own images: small maps in few bits, distilled through their rounding.

Means are matched and classes told apart by experts; docs/experiments.md has what each of these is
worth.
"""

import functools
import math
import tempfile
from dataclasses import dataclass
from typing import Any

from d3data.artifact.quantize import Quantization
from d3data.distill.budget import FEWEST, Budget, plan_budget
from d3data.distill.experts import ExpertPlan, NetworkSpec
from d3data.distill.forecast import forecast
from d3data.distill.objectives import ExpertAlignment, MeanMatching, WeightedSum
from d3data.distill.recipe import Optimizer, Quantize, Recipe, WarmStart
from d3data.distill.runs import prepare
from d3data.errors import BudgetError
from d3data.images.scan import ImageScan
from d3data.images.spec import Image
from d3data.images.tasks import TaskSpec
from d3data.nets.compute import Compute
from d3data.utils.device import find_resources
from d3data.utils.text import counted, slug, weight

STORED = Quantization(priors="int3", decoder="int4")
SAMPLES = ((16, 32), (24, 48), (48, 96))  # draws and real images of each class, a step
MOST_SAMPLES = 640  # draws of all classes together
RATE = 5e-4  # of the warm start: at four times of it, images with a black ground stayed black
EPOCH = 8  # steps of an expert's epoch at least, where images are few
TIMED = 3  # steps
MAP = 128  # values, below which a map shows little of an image


@dataclass(frozen=True)
class Steps:
    """How long each stage lasts; `samples` is a row of `SAMPLES`."""

    experts: int
    epochs: int
    warm_start: int
    distill: int
    samples: int = 0


@dataclass(frozen=True)
class Maker:
    """Makes recipes for images of different sizes and lengths, and times them."""

    scan: ImageScan
    spec: TaskSpec
    size: int  # bytes
    device: str
    least: int  # images of a class to distill from
    precision: Any = "float32"

    @property
    def native(self) -> int:
        """The side of the images as they are, in pixels."""
        return self.scan.spec.size or 32

    def image(self, side: int) -> Image:
        channels = self.spec.channels or 3
        middle = (0.5,) * channels
        return Image(channels=channels, size=side, mean=middle, std=middle)

    def bought(self, side: int, size: int | None = None) -> Budget:
        return _maps(self.image(side), len(self.scan.classes), size or self.size, self.least)

    def require(self, side: int) -> None:
        """BudgetError, which names the least that would do, where too few bytes were given."""
        try:
            self.bought(side)
        except BudgetError:
            needed = spelled(self.enough(side))
            classes = counted(len(self.scan.classes), "class", "classes")
            raise BudgetError(
                f"{weight(self.size)} are too few for {classes} of {side} px: give --budget "
                f"{needed} or more"
            ) from None

    def enough(self, side: int) -> int:
        """Bytes that buy fitting maps for images of this side."""
        size = self.size
        while not self.affords(side, size) and size < 1 << 40:
            size *= 2
        return size

    def affords(self, side: int, size: int | None = None) -> bool:
        """Whether the bytes buy maps for images of this side, a fitting number of each class."""
        try:
            bought = self.bought(side, size)
        except BudgetError:
            return False
        return bought.items_per_class >= min(FEWEST, self.least) and map_values(
            bought, self.image(side)
        ) >= min(MAP, side**2 // 8)

    def recipe(self, side: int, steps: Steps, images: int) -> Recipe:
        gray, bought = self.spec.channels == 1, self.bought(side)
        classes, name = len(self.scan.classes), slug(self.spec.name)
        draws, real = SAMPLES[steps.samples]
        most = max(2, MOST_SAMPLES // classes)
        augment, window = "siamese-noflip", (0, steps.epochs)
        experts = ExpertPlan(
            network=NetworkSpec(width=32),
            count=max(1, steps.experts),
            epochs=max(1, steps.epochs),
            batch=epoch_batch(images),
            momentum=0.9,
            augment=augment,
        )
        looks: Any = {"experts": experts, "epochs": window}
        alone = classes == 1 or not steps.experts  # nothing to tell apart, or no epoch fits
        if alone:
            looks = {"network": NetworkSpec(width=32)}
        matching = MeanMatching(
            samples=min(draws, most), real=min(real, 2 * most), augment=augment, **looks
        )
        objective: Any = matching
        if not alone:
            aligned = ExpertAlignment(samples=min(draws, most), augment=augment, **looks)
            weights = (1.0, 2.5 if gray else 10.0)
            objective = WeightedSum(weights=weights, children=(matching, aligned))
        return Recipe(
            name=name,
            description=f"{counted(classes, 'class', 'classes')} of {self.spec.name}",
            items_per_class=bought.items_per_class,
            draws_per_class=max(128, bought.items_per_class),
            task=self.spec.model_copy(update={"data": None, "size": side, "classes": classes}),
            source=bought.source,
            warm_start=WarmStart(steps=steps.warm_start, learning_rate=RATE, width=32),
            objective=objective,
            optimizers={
                "priors": Optimizer(learning_rate=5e-3, schedule="cosine"),
                "decoder": Optimizer(learning_rate=5e-4, schedule="cosine"),
            },
            quantize=Quantize(steps=steps.distill, **STORED.dump()),
            compute=Compute(precision=self.precision, decoding=self.precision),
        )

    def timed(self, side: int, images: int) -> dict[str, float]:
        """Seconds of a step of each stage, at the fewest samples."""
        resources = find_resources(self.device, None)
        steps = Steps(resources.workers, 1, 100, 100)
        with tempfile.TemporaryDirectory() as folder:
            recipe = self.recipe(side, steps, images)
            plan = prepare(
                recipe, out=f"{folder}/run", data=self.scan.spec.data, resources=resources
            )
        stages = forecast(plan, self.device, workers=resources.workers, steps=TIMED)
        times = {stage.name: stage.seconds for stage in stages}
        if None in times.values():
            raise BudgetError(f"a step on images of {side} px takes too long: lower --size")
        each = {stage.name: (times[stage.name] or 0.0) / stage.steps for stage in stages}
        return {"experts": math.inf, **each}


@functools.cache
def _maps(image: Image, classes: int, size: int, most: int) -> Budget:
    """What so many bytes buy: asked many times of the same, and a third of a second each."""
    return plan_budget(
        image, classes=classes, size=size, kind="spatial", stored=STORED, most_per_class=most
    )


def map_values(bought: Budget, image: Image) -> int:
    """The values of one item."""
    shape = bought.source.layout(image, items=1, classes=1)["mean"]
    return math.prod(shape)


def spelled(size: int) -> str:
    """Bytes as `--budget` takes them.

    >>> spelled(320_000), spelled(2_000_000)
    ('320kB', '2MB')
    """
    return weight(size).replace(" ", "")


def epoch_batch(images: int) -> int:
    """The batch of experts: 256, but smaller where an epoch would have few steps.

    >>> epoch_batch(54_000), epoch_batch(160), epoch_batch(20)
    (256, 16, 8)
    """
    batch = 256
    while batch > 8 and images // batch < EPOCH:
        batch //= 2
    return batch
