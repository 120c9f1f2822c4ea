"""From a budget to a source: which decoder, and how many priors, so many values or bytes buy."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from d3data.errors import BudgetError
from d3data.images.spec import Image
from d3data.sources.decoders import DecoderSpec, sizes
from d3data.sources.gaussian import GaussianSpec
from d3data.sources.registry import layout, published_values
from d3data.utils.text import counted

Family = Literal["small", "medium", "large"]
Unit = Literal["values", "bytes"]

FLOAT = 4  # bytes of a stored value
HEADER = 80  # bytes that a part's header spends on a tensor
MANIFEST = 2600  # bytes of a manifest, without class names
CLASS = 30  # bytes that a manifest spends on a class
SHARES = (0.4, 0.6)  # of a budget for decoders: a rule of thumb


@dataclass(frozen=True)
class Budget:
    """What a budget buys: one source for every subtask, and priors for every class."""

    source: GaussianSpec
    items_per_class: int
    published_values: int
    bytes: int

    def used(self, unit: Unit) -> int:
        """What it costs in that unit."""
        return self.published_values if unit == "values" else self.bytes


def plan_budget(
    image: Image,
    *,
    classes: int,
    values: int | None = None,
    size: int | None = None,
    subtasks: int = 1,
    family: Family = "small",
    std: Literal["item", "class", "shared"] = "shared",
    residual: bool = True,
    most_per_class: int | None = None,
) -> Budget:
    """Pick a decoder and the number of priors that use up a budget.

    Of the decoders whose maps keep two channels or more (one starves the warm start), that take
    about half of the budget, and whose latents are once to twice as long as they are wide, the
    one that leaves least over; priors fill the rest.

    Args:
        image: the images to be made.
        classes: K, in all subtasks together.
        values: the budget in values as papers count them; or
        size: the budget in bytes of manifest and parts.
        subtasks: how many decoders there are.
        family: of decoders.
        std: what shares a standard deviation.
        residual: whether draws carry the residual field.
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
    candidates: list[_Candidate] = []
    for decoder in _decoders(image, family):
        source = GaussianSpec(decoder=decoder, std=std, residual=residual)
        one, two = (_cost(source, image, blocks, items).used(unit) for items in (1, 2))
        items = min(1 + (limit - one) // (two - one), most_per_class or limit)
        if items >= 1:
            bought = _cost(source, image, blocks, items)
            share = 1 - items * (two - one) / limit
            wide = sizes(decoder, image).channels[-1] > 1
            balanced = SHARES[0] <= share <= SHARES[1]
            candidates.append(_Candidate(wide, balanced, bought.used(unit), bought))
    if not candidates:
        raise BudgetError(
            f"a budget of {limit:,} {unit} is too small for any decoder of {image.size} px and "
            f"one prior for each of {counted(classes, 'class', 'classes')}, in "
            f"{counted(subtasks, 'subtask')}: raise it, use fewer subtasks, or smaller images"
        )
    return max(candidates, key=lambda candidate: candidate[:3]).bought


class _Candidate(NamedTuple):
    wide: bool
    balanced: bool
    used: int
    bought: Budget


def _decoders(image: Image, family: Family) -> Iterator[DecoderSpec]:
    """Decoders on a ladder of widths, each with latents of once to twice its width."""
    base = sizes(DecoderSpec(family="small", width=1, noise=1), image).base
    widths = sorted({round(2 * 1.06**step) for step in range(130)})
    for width in widths:
        if family == "large":
            yield DecoderSpec(family=family, width=width, noise=width * base**2)
            continue
        for noise in sorted({width, round(1.25 * width), round(1.5 * width), 2 * width}):
            yield DecoderSpec(family=family, width=width, noise=noise)


def _cost(source: GaussianSpec, image: Image, blocks: list[int], items: int) -> Budget:
    published = stored = tensors = 0
    for classes in blocks:
        sizes = {"items": items * classes, "classes": classes}
        published += published_values(source, image, **sizes)
        shapes = layout(source, image, **sizes)
        stored += sum(math.prod(shape) for shape in shapes.values())
        tensors += len(shapes)
    overhead = MANIFEST + CLASS * sum(blocks) + HEADER * tensors
    return Budget(source, items, published, FLOAT * stored + overhead)
