"""What was decided for a recipe, and why, in sentences."""

from collections.abc import Iterator

from d3data.distill.recipe_maker import Maker, map_values, spelled
from d3data.images.scan import ImageScan
from d3data.utils.text import counted, duration, weight

FEW = 20  # images of a class, too few to tell what they have in common


def size_notes(maker: Maker, chosen: int, sides: list[int], *, given: bool) -> Iterator[str]:
    """Why images have this side."""
    native = maker.native
    if chosen == native:
        yield f"images: {native} px, as they are; --size says another"
        return
    if given:
        yield f"images: {native} -> {chosen} px, as --size says"
        return
    if chosen == sides[0]:
        reason = f"to fit {weight(maker.size)}"
        budgets = (maker.size * factor for factor in (2, 5, 10, 50))
        larger = next((size for size in budgets if maker.affords(2 * chosen, size)), None)
        more = f"{weight(larger)} would give {2 * chosen}; " if larger else ""
    else:
        reason = "to fit the minutes"
        more = f"about four times the --minutes would give {2 * chosen}; "
    yield f"images: {native} -> {chosen} px {reason} ({more}--size chooses)"


def budget_notes(maker: Maker, side: int) -> Iterator[str]:
    """What the bytes buy."""
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


def image_notes(scan: ImageScan, held: int) -> Iterator[str]:
    """What the number of images means for the result; `held` are held out to test on."""
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
    """Such as `about 9 minutes on this machine: experts 1 minute, ... verdict 3 minutes`."""
    parts = [*seconds.items(), ("verdict", verdict)]
    each = ", ".join(f"{name} {duration(one)}" for name, one in parts)
    return f"about {duration(sum(one for _, one in parts))} on this machine: {each}"
