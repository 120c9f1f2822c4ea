"""A recipe for one's own images that fits a budget of bytes, and one of minutes on this machine.

Steps are timed here, and the minutes divided among experts, warm start and distillation.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from d3data.distill.budget import Budget
from d3data.distill.forecast import start_seconds
from d3data.distill.recipe import Recipe
from d3data.distill.recipe_maker import SAMPLES, Maker, Steps, epoch_batch
from d3data.distill.suggest_notes import budget_notes, image_notes, size_notes
from d3data.errors import BudgetError, DataError
from d3data.images.scan import ImageScan
from d3data.images.tasks import TaskSpec
from d3data.utils.device import find_resources
from d3data.utils.text import counted, duration

SPARE = 0.1  # of the minutes, by which steps were seen to take longer than those that are timed
VERDICT = 0.35  # of the rest, for networks that are trained on the set and on its rivals
SHARES = {"experts": 0.2, "warm start": 0.2, "distill": 0.6}  # of what is left
ENOUGH = 300  # steps, below which smaller images are taken
LEAST = 30  # steps, below which no recipe is made
MANY = 1000  # steps, from which more samples are taken
MOST = {"warm start": 3000, "distill": 2500}  # steps that were seen to pay
EXPERTS, EPOCHS = 4, 15  # at most
TESTS = 100  # images that are held out to test on, where there are enough
SMALLEST = 16  # pixels of a side that minutes may lead to
GUESS = 32  # pixels of a side at which steps are timed first


@dataclass(frozen=True)
class Suggestion:
    """A recipe; how long it takes here, by stage in seconds; what was decided, in sentences."""

    recipe: Recipe
    bought: Budget
    seconds: dict[str, float]
    verdict_seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Fitted:
    """The side and the steps that fit; `step` is the seconds of one in each stage."""

    maker: Maker
    side: int
    step: dict[str, float]
    steps: Steps


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
        BudgetError: nothing fits into so few bytes, or minutes.
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
    sides = _sides(maker, side)
    usable, overhead = (1 - SPARE) * 60 * minutes, _overhead()
    verdict = VERDICT * usable
    fitted = _fit(maker, sides, max(usable / 4, usable - verdict - overhead), images=train)
    steps = fitted.steps
    if steps.distill < LEAST:
        raise BudgetError(
            f"{duration(60 * minutes)} on this machine are enough for "
            f"{counted(steps.distill, 'step')} on images of {fitted.side} px: give "
            f"{_more(fitted, overhead)}"
        )
    notes = [
        *size_notes(fitted.maker, fitted.side, sides, given=side is not None),
        *budget_notes(fitted.maker, fitted.side),
        *image_notes(scan, held),
        *([] if license else ["licence: not stated; say it with --licence, such as CC-BY-4.0"]),
    ]
    if steps.distill < ENOUGH:
        notes.append(
            f"problem: {counted(steps.distill, 'step')} are few: give {_more(fitted, overhead)}"
        )
    return Suggestion(
        recipe=fitted.maker.recipe(fitted.side, steps, train),
        bought=fitted.maker.bought(fitted.side),
        seconds={**_seconds(fitted, images=train), "starting": overhead},
        verdict_seconds=verdict,
        notes=tuple(notes),
    )


def _sides(maker: Maker, given: int | None) -> list[int]:
    """Sides of images that the bytes are enough for, from the largest; BudgetError if none is."""
    if given is not None:
        maker.require(given)
        return [given]
    halved = [*_halved(maker.native)]
    sides = [one for one in halved if maker.affords(one)] or halved[-1:]
    maker.require(sides[-1])
    return sides


def _halved(native: int) -> Iterator[int]:
    side = native
    while True:
        yield side
        if side % 2 or side // 2 < SMALLEST:
            return
        side //= 2


def _fit(maker: Maker, sides: list[int], seconds: float, *, images: int) -> Fitted:
    """The largest side with enough steps, in the faster precision."""
    workers, epoch = _workers(maker), _epoch(images)
    guess = next((one for one in sides if one <= GUESS), sides[-1])
    exact, short = (replace(maker, precision=name) for name in ("float32", "bfloat16"))
    step, shorter = exact.timed(guess, images), short.timed(guess, images)
    maker = exact
    if step["distill"] >= 1.2 * shorter["distill"]:
        maker, step = short, shorter
    for side in sides:
        grown = {stage: one * (side / guess) ** 2 for stage, one in step.items()}
        steps = allot(seconds, grown, epoch=epoch, workers=workers)
        if steps.distill >= ENOUGH or side == sides[-1]:
            break
    if side != guess:
        step = maker.timed(side, images)
        steps = allot(seconds, step, epoch=epoch, workers=workers)
    return Fitted(maker, side, step, steps)


def _seconds(fitted: Fitted, *, images: int) -> dict[str, float]:
    """The seconds of each stage."""
    steps, step = fitted.steps, fitted.step
    draws = SAMPLES[steps.samples][0] / SAMPLES[0][0]
    laps = steps.epochs * -(-steps.experts // _workers(fitted.maker))
    return {
        "experts": laps * _epoch(images) * step["experts"] if laps else 0.0,
        "warm start": steps.warm_start * step["warm start"],
        "distill": steps.distill * step["distill"] * draws,
    }


def _workers(maker: Maker) -> int:
    return find_resources(maker.device, None).workers


def _epoch(images: int) -> int:
    """The steps of an expert's epoch."""
    return -(-images // epoch_batch(images))


def _overhead() -> float:
    """Seconds in which a run does no steps."""
    return 2 * start_seconds() + 10


def _more(fitted: Fitted, overhead: float) -> str:
    """The minutes that give `ENOUGH` steps of distillation on images of this side, as typed."""
    seconds = ENOUGH * fitted.step["distill"] / SHARES["distill"] + overhead
    minutes = math.ceil(seconds / (1 - VERDICT) / (1 - SPARE) / 60)
    size = f" --size {fitted.side}" if fitted.side != fitted.maker.native else ""
    smaller = f", or a smaller --size than {fitted.side}" if fitted.side > SMALLEST else ""
    return f"--minutes {minutes}{size}, which is {ENOUGH} steps{smaller}"


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
