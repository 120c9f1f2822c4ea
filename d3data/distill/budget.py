"""From a budget to a source: which decoder, and how many priors, so many values or bytes buy."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from d3data.artifact import quantize
from d3data.artifact.part import FLOAT32
from d3data.artifact.quantize import Quantization, stored_bytes
from d3data.errors import BudgetError
from d3data.images.spec import Image
from d3data.sources.base import SourceSpec
from d3data.sources.decoders import DecoderSpec, most_stages, sizes
from d3data.sources.gaussian import GaussianSpec
from d3data.sources.registry import layout, published_values
from d3data.sources.spatial import MOST_LATENTS, SpatialSpec
from d3data.utils.text import counted

Family = Literal["small", "medium", "large"]
Unit = Literal["values", "bytes"]

HEADER = 80  # bytes that a part's header spends on a tensor
MANIFEST = 2600  # bytes of a manifest, without class names
CLASS = 30  # bytes that a manifest spends on a class
SHARES = {"gaussian": (0.4, 0.6), "spatial": (0.17, 0.23)}  # for decoders: rules of thumb
FEWEST = 10  # maps of a class, before maps become larger
UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "kib": 1024, "mib": 1024**2}


@dataclass(frozen=True)
class Budget:
    """What a budget buys: one source for every subtask, and priors for every class."""

    source: SourceSpec
    items_per_class: int
    published_values: int
    bytes: int
    described: int  # bytes that are no tensor's

    def overhead(self, unit: Unit) -> int:
        return 0 if unit == "values" else self.described

    def used(self, unit: Unit) -> int:
        return self.published_values if unit == "values" else self.bytes


def plan_budget(
    image: Image,
    *,
    classes: int,
    values: int | None = None,
    size: int | None = None,
    subtasks: int = 1,
    kind: Literal["gaussian", "spatial"] = "gaussian",
    family: Family = "small",
    std: Literal["item", "class", "shared"] = "shared",
    residual: bool = True,
    stored: Quantization = FLOAT32,
    most_per_class: int | None = None,
) -> Budget:
    """Pick a decoder and the number of priors that use up a budget.

    Of the decoders whose maps keep two channels or more (one starves the warm start), that take
    about half of the budget, and whose latents are once to twice as long as they are wide, the
    one that leaves least over; priors fill the rest. Small maps are as large as they may be where
    there are ten of a class, and their decoder takes about a fifth; maps of gray images have two
    channels at most.

    Args:
        image: the images to be made.
        classes: K, in all subtasks together.
        values: the budget in values as papers count them; or
        size: the budget in bytes of manifest and parts.
        subtasks: how many decoders there are.
        kind: of source.
        family: of decoders; this and the next two are for `gaussian`.
        std: what shares a standard deviation.
        residual: whether draws carry the residual field.
        stored: in how many bits, which matters for bytes.
        most_per_class: priors of a class at most, where it has few real images to stand for.

    Raises:
        BudgetError: not even the smallest decoder and one prior a class fit.
    """
    if (values is None) == (size is None):
        raise BudgetError("give a budget either in values or in bytes (size)")
    unit: Unit = "bytes" if values is None else "values"
    limit = values or size or 0
    edges = [classes * block // subtasks for block in range(subtasks + 1)]
    blocks = [after - before for before, after in pairwise(edges)]
    best: tuple[Any, Budget] | None = None
    least, most = SHARES[kind]
    candidates = _maps(image)
    if kind == "gaussian":
        candidates = _gaussians(image, family, std=std, residual=residual)
    for source, merit, fine in candidates:
        one, two = (_cost(source, image, blocks, items, stored).used(unit) for items in (1, 2))
        items = min(1 + (limit - one) // (two - one), most_per_class or limit)
        if items < 1 or (fine and items != most_per_class):
            continue
        bought = _cost(source, image, blocks, items, stored)
        used = bought.used(unit)
        enough = kind == "gaussian" or items >= min(FEWEST, most_per_class or FEWEST)
        share = 1 - items * (two - one) / (used - bought.overhead(unit))  # of the decoder
        rank = enough, merit if enough else -merit, least <= share <= most, used
        if best is None or rank > best[0]:
            best = rank, bought
    if best is None:
        raise BudgetError(
            f"a budget of {limit:,} {unit} is too small for any decoder of {image.size} px and "
            f"one prior for each of {counted(classes, 'class', 'classes')}, in "
            f"{counted(subtasks, 'subtask')}: raise it, use fewer subtasks, or smaller images"
        )
    return best[1]


# with what counts before a budget is used up, and whether it is for few images alone
Candidates = Iterator[tuple[SourceSpec, int, bool]]


def _gaussians(image: Image, family: Family, **options: Any) -> Candidates:
    """Decoders on a ladder of widths, each with latents of once to twice its width.

    What counts is that the last map keeps two channels.
    """
    base = sizes(DecoderSpec(family="small", width=1, noise=1), image).base
    for width in sorted({round(2 * 1.06**step) for step in range(130)}):
        noises = {width, round(1.25 * width), round(1.5 * width), 2 * width}
        for noise in sorted(noises) if family != "large" else [width * base**2]:
            decoder = DecoderSpec(family=family, width=width, noise=noise)
            wide = sizes(decoder, image).channels[-1] > 1
            yield GaussianSpec(decoder=decoder, **options), int(wide), False


def _maps(image: Image) -> Candidates:
    """Maps of eight pixels or half as many and a few channels, decoders on a ladder of widths.

    What counts is how large a map is. Larger ones still, for classes of few images, must leave
    room for a map of each image.
    """
    usual = max(1, round(math.log2(image.size / 8)))
    most = 2 if image.channels == 1 else 4
    for stages in {*range(1, usual), usual, min(usual + 1, most_stages(image.size))}:
        if most * (image.size / 2**stages) ** 2 > MOST_LATENTS:
            continue
        for channels in [1, 2, 4][: most // 2 + 1] if stages >= usual else [most]:
            for width in sorted({round(4 * 1.06**step) for step in range(90)}):
                source = SpatialSpec(channels=channels, stages=stages, width=width)
                latent = source.layout(image, items=1, classes=1)["mean"]
                yield source, math.prod(latent), stages < usual


def _cost(
    source: SourceSpec,
    image: Image,
    blocks: list[int],
    items: int,
    precision: Quantization,
) -> Budget:
    published = stored = tensors = 0
    for classes in blocks:
        sizes = {"items": items * classes, "classes": classes}
        published += published_values(source, image, **sizes)
        shapes = layout(source, image, **sizes)
        stored += stored_bytes(shapes, precision)
        tensors += len(quantize.stored(shapes, precision))
    overhead = MANIFEST + CLASS * sum(blocks) + HEADER * tensors
    return Budget(source, items, published, stored + overhead, overhead)


def parse_size(text: str) -> int:
    """Bytes from what a person writes; BudgetError if it is not a size.

    >>> parse_size("100kB"), parse_size("1.5 MiB"), parse_size("4000")
    (100000, 1572864, 4000)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmM]?i?[bB]?)", text.strip())
    if not match or match[2].lower() not in UNITS:
        raise BudgetError(f"{text!r} is not a size: write bytes, or a size such as 100kB or 1.5MB")
    return round(float(match[1]) * UNITS[match[2].lower()])
