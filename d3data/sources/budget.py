"""From a budget to a source: which decoder, and how many priors, a number of values or bytes buys."""

import math
from dataclasses import dataclass
from typing import Literal

from d3data.errors import BudgetError
from d3data.sources.decoders import plan
from d3data.sources.parts import layout, published_values
from d3data.sources.specs import DecoderSpec, GaussianSpec, Image

FLOAT = 4  # bytes
SHARE = 0.5  # of the values that decoders may take
OVERHEAD = 1500  # bytes of a manifest, and about as many of a part's header


@dataclass(frozen=True)
class Budget:
    """What a budget buys: the source of every subtask and the priors of every class."""

    source: GaussianSpec
    items_per_class: int
    published_values: int
    bytes: int


def plan_budget(
    image: Image,
    *,
    classes: int,
    subtasks: int = 1,
    values: int | None = None,
    bytes: int | None = None,
    family: Literal["small", "medium", "large"] = "small",
    residual: bool = True,
) -> Budget:
    """Choose decoder and priors for a budget of published `values` or of `bytes` on disk.

    The widest decoder whose copies take at most half the budget, with a noise that grows with
    its width; priors fill the rest.

    Raises:
        BudgetError: not even the smallest decoder with one prior a class fits.
    """
    if (values is None) == (bytes is None):
        raise BudgetError("give either values or bytes")
    raise NotImplementedError
