"""A recipe for one's own images that fits a budget of bytes, and one of minutes on this machine.

Small maps in few bits, distilled through their rounding by mean matching and alignment with
experts; docs/experiments.md has what each of these is worth. Steps are timed here, and the
minutes divided among experts, warm start and distillation.
"""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from d3data.artifact.quantize import Quantization
from d3data.distill.budget import FEWEST, Budget, plan_budget
from d3data.distill.experts import ExpertPlan, NetworkSpec
from d3data.distill.forecast import forecast, start_seconds
from d3data.distill.objectives import ExpertAlignment, MeanMatching, WeightedSum
from d3data.distill.recipe import Optimizer, Quantize, Recipe, WarmStart
from d3data.distill.runs import prepare
from d3data.errors import BudgetError, DataError
from d3data.images.scan import ImageScan
from d3data.images.spec import Image
from d3data.images.tasks import TaskSpec
from d3data.nets.compute import Compute
from d3data.utils.device import find_resources
from d3data.utils.text import counted, duration, slug, weight

STORED = Quantization(priors="int3", decoder="int4")
SPARE = 0.1  # of the minutes, by which steps were seen to take longer than those that are timed
VERDICT = 0.35  # of the rest, for networks that are trained on the set and on its rivals
SHARES = {"experts": 0.2, "warm start": 0.2, "distill": 0.6}  # of what is left
SAMPLES = ((16, 32), (24, 48), (48, 96))  # draws and real images of each class, a step
MOST_SAMPLES = 640  # draws of all classes together
ENOUGH = 300  # steps, below which smaller images are taken
LEAST = 30  # steps, below which no recipe is made
MANY = 1000  # steps, from which more samples are taken
MOST = {"warm start": 3000, "distill": 2500}  # steps that were seen to pay
EXPERTS, EPOCHS = 4, 15  # at most
RATE = 5e-4  # of the warm start: at four times of it, images with a black ground stayed black
EPOCH = 8  # steps of an expert's epoch at least, where images are few
TESTS = 100  # images that are held out to test on, where there are enough
SMALLEST = 16  # pixels of a side that minutes may lead to
GUESS = 32  # pixels of a side at which steps are timed first
TIMED = 3  # steps
FEW = 20  # images of a class, too few to tell what they have in common
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
class Suggestion:
    """A recipe; how long it takes here, by stage in seconds; what was decided, in sentences."""

    recipe: Recipe
    bought: Budget
    seconds: dict[str, float]
    verdict_seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Maker:
    """Makes recipes for images of different sizes and lengths, and times them."""

    scan: ImageScan
    spec: TaskSpec
    size: int  # bytes
    device: str
    least: int  # images of a class to distill from
    precision: Any = "float32"

    def image(self, side: int) -> Image:
        channels = self.spec.channels or 3
        middle = (0.5,) * channels
        return Image(channels=channels, size=side, mean=middle, std=middle)

    def bought(self, side: int, size: int | None = None) -> Budget:
        return plan_budget(
            self.image(side),
            classes=len(self.scan.classes),
            size=size or self.size,
            kind="spatial",
            stored=STORED,
            most_per_class=self.least,
        )

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


def allot(seconds: float, step: dict[str, float], *, epoch: int, workers: int) -> Steps:
    """Steps that take so many `seconds`, of which `step` says what one takes in each stage.

    `epoch` are the steps of an expert's epoch, and `workers` experts are trained at a time. Where
    not one epoch fits, matching looks through random networks.
    """
    share = {stage: part * seconds for stage, part in SHARES.items()}
    lap = epoch * step["experts"]
    laps = int(share["experts"] / lap)
    rounds = min(-(-EXPERTS // workers), max(1, laps // EPOCHS))
    if workers == rounds == 1 and laps >= 4:
        rounds = 2
    epochs = min(EPOCHS, laps // rounds)
    experts = min(EXPERTS, workers * rounds) if epochs else 0
    spent = epochs * lap * rounds if epochs else 0.0
    warm = min(MOST["warm start"], int(share["warm start"] / step["warm start"]))
    left = seconds - spent - warm * step["warm start"]
    chosen, each = 0, step["distill"]
    for number, (draws, _) in enumerate(SAMPLES):
        longer = step["distill"] * draws / SAMPLES[0][0]
        if left / longer >= MANY:
            chosen, each = number, longer
    distill = min(MOST["distill"], int(left / each))
    return Steps(experts, epochs, max(1, warm), max(1, distill), chosen)


def suggest(
    scan: ImageScan,
    *,
    size: int,
    minutes: float = 10.0,
    side: int | None = None,
    license: str | None = None,
    device: str = "cpu",
) -> Suggestion:
    """A recipe whose artifact takes at most `size` bytes, and that fits into `minutes` here.

    About a third of the minutes is left for the verdict. The path of the images is left out, as
    it is one of this machine.

    Args:
        scan: the images.
        size: of manifest and parts, in bytes.
        minutes: until the verdict is there.
        side: of the images, in pixels; unless given, what bytes and minutes allow.
        license: of the images.
        device: where it will be distilled.

    Raises:
        DataError: there are problems with the images; it lists them.
        BudgetError: nothing fits into so few bytes.
    """
    if scan.problems:
        raise DataError(f"{scan.place}: {'; '.join(scan.problems)}")
    if not 0 < minutes < math.inf:
        raise BudgetError(f"minutes must be a number above 0, got {minutes:g}")
    spec, held = held_out(scan)
    spec = spec.model_copy(update={"license": license})
    train = sum(scan.counts["train"]) - (held if "validation" not in scan.counts else 0)
    least = max(1, round(min(scan.counts["train"]) * train / sum(scan.counts["train"])))
    maker = Maker(scan, spec, size, device, min(least, scan.least) or 1)
    native = scan.spec.size or 32
    if side is not None:
        maker.require(side)
        sides = [side]
    else:
        sides = [one for one in _halved(native) if maker.affords(one)] or [[*_halved(native)][-1]]
        maker.require(sides[-1])
    workers = find_resources(device, None).workers
    usable = (1 - SPARE) * 60 * minutes
    verdict = VERDICT * usable
    overhead = _overhead()
    seconds = max(usable / 4, usable - verdict - overhead)
    epoch = -(-train // epoch_batch(train))
    guess = next((one for one in sides if one <= GUESS), sides[-1])
    times = {name: replace(maker, precision=name) for name in ("float32", "bfloat16")}
    steps_of = {name: one.timed(guess, train) for name, one in times.items()}
    precision = min(steps_of, key=lambda name: steps_of[name]["distill"])
    if steps_of["float32"]["distill"] < 1.2 * steps_of[precision]["distill"]:
        precision = "float32"
    maker, step = times[precision], steps_of[precision]
    for chosen in sides:
        grown = {stage: one * (chosen / guess) ** 2 for stage, one in step.items()}
        steps = allot(seconds, grown, epoch=epoch, workers=workers)
        if steps.distill >= ENOUGH or chosen == sides[-1]:
            break
    if chosen != guess:
        step = maker.timed(chosen, train)
        steps = allot(seconds, step, epoch=epoch, workers=workers)
    if steps.distill < LEAST:
        raise BudgetError(
            f"{minutes:g} minutes are {counted(steps.distill, 'step')} on images of {chosen} px "
            f"on this machine: give --minutes {_needed_minutes(step, overhead)}, "
            f"which is {ENOUGH} steps" + _smaller(chosen)
        )
    recipe = maker.recipe(chosen, steps, train)
    draws = SAMPLES[steps.samples][0] / SAMPLES[0][0]
    rounds = -(-steps.experts // workers)
    takes = {
        "experts": steps.epochs * epoch * step["experts"] * rounds if steps.epochs else 0.0,
        "warm start": steps.warm_start * step["warm start"],
        "distill": steps.distill * step["distill"] * draws,
        "starting": overhead,
    }
    notes = [
        *_size_notes(maker, chosen, sides, native, given=side is not None),
        *_budget_notes(maker, chosen),
        *_image_notes(scan, held),
        *([] if license else ["licence: not stated; say it with --licence, such as CC-BY-4.0"]),
    ]
    if steps.distill < ENOUGH:
        notes.append(
            f"problem: {counted(steps.distill, 'step')} are few: --minutes "
            f"{_needed_minutes(step, overhead)} gives {ENOUGH}" + _smaller(chosen)
        )
    return Suggestion(recipe, maker.bought(chosen), takes, verdict, tuple(notes))


def _overhead() -> float:
    """Seconds in which a run does no steps."""
    return 2 * start_seconds() + 10


def _needed_minutes(step: dict[str, float], overhead: float) -> int:
    """Minutes that give `ENOUGH` steps of distillation."""
    seconds = ENOUGH * step["distill"] / SHARES["distill"] + overhead
    return math.ceil(seconds / (1 - VERDICT) / (1 - SPARE) / 60)


def _smaller(side: int) -> str:
    return f", or a smaller --size than {side}" if side > SMALLEST else ""


def held_out(scan: ImageScan) -> tuple[TaskSpec, int]:
    """The task, with a fraction to hold out that has about 100 images, and how many these are.

    A tenth, but up to a third where there is nothing else to test on and images are few.
    """
    train = sum(scan.counts["train"])
    if "validation" in scan.counts and "test" in scan.counts:
        return scan.spec, 0
    fraction = scan.spec.validation
    if not {"validation", "test"} & scan.counts.keys():
        fraction = round(min(1 / 3, max(fraction, TESTS / max(1, train))), 3)
    held = sum(max(1, round(fraction * count)) for count in scan.counts["train"])
    return scan.spec.model_copy(update={"validation": fraction}), held


def _halved(native: int) -> Iterator[int]:
    side = native
    while True:
        yield side
        if side % 2 or side // 2 < SMALLEST:
            return
        side //= 2


def _size_notes(
    maker: Maker, chosen: int, sides: list[int], native: int, *, given: bool
) -> Iterator[str]:
    if chosen == native:
        yield f"images: {native} px, as they are; --size says another"
        return
    if given:
        yield f"images: {native} -> {chosen} px, as --size says"
        return
    more = "--size chooses"
    if chosen == sides[0]:
        larger = next(
            (size for size in (maker.size * by for by in (2, 5, 10, 50)) if
             maker.affords(2 * chosen, size)), None
        )  # fmt: skip
        reason = f"to fit {weight(maker.size)}"
        more = f"{weight(larger)} would give {2 * chosen}; {more}" if larger else more
    else:
        reason = "to fit the minutes"
        more = f"about four times the --minutes would give {2 * chosen}; {more}"
    yield f"images: {native} -> {chosen} px {reason} ({more})"


def _budget_notes(maker: Maker, side: int) -> Iterator[str]:
    bought, classes = maker.bought(side), len(maker.scan.classes)
    values = map_values(bought, maker.image(side))
    yield (
        f"set: {bought.items_per_class:,} maps a class of {values:,} values in 3 bits, and one "
        f"decoder in 4 bits: {weight(bought.bytes)}"
    )
    if not maker.affords(side):
        yield (
            f"problem: {weight(maker.size)} are {weight(maker.size // classes)} a class, too few "
            f"for {counted(classes, 'class', 'classes')}: give --budget "
            f"{spelled(maker.enough(side))} or more"
        )
    if bought.bytes < 0.8 * maker.size:
        yield (
            f"no more than {weight(bought.bytes)} of {weight(maker.size)} are of use: every image "
            "has a map already"
        )


def _image_notes(scan: ImageScan, held: int) -> Iterator[str]:
    counts = scan.counts
    tests = sum(counts.get("test", counts.get("validation", ()))) or held
    error = 100 * (0.25 / max(1, tests)) ** 0.5
    yield f"tested on: {counted(tests, 'image')}, so accuracies are good to ±{error:.0f} points"
    fewest = min(counts["train"]) - (held > 0) * round(held / len(scan.classes))
    if fewest < FEW:
        yield (
            f"problem: {counted(max(1, fewest), 'image')} of a class to distill from: with fewer "
            f"than {FEW} the images themselves, compressed, are likely worth more"
        )


def forecast_text(seconds: dict[str, float], verdict: float) -> str:
    """Such as `about 9 minutes here: experts 1 minute, ... verdict 3 minutes`."""
    parts = [*seconds.items(), ("verdict", verdict)]
    each = ", ".join(f"{name} {duration(one)}" for name, one in parts)
    return f"about {duration(sum(one for _, one in parts))} on this machine: {each}"
