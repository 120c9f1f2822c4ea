"""The methods: one file each, one line each in the table.

A recipe may also name an objective of one's own, `kind = "package.module:Class"`, a subclass of
`Objective`. It is imported where the recipe is distilled, and nowhere else.
"""

import functools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SerializeAsAny, ValidatorFunctionWrapHandler, WrapValidator

from d3data.distill.objectives.base import Objective, OwnObjective
from d3data.distill.objectives.combine import Alternate, WeightedSum
from d3data.distill.objectives.expert_alignment import ExpertAlignment
from d3data.distill.objectives.feature_regression import FeatureRegression
from d3data.distill.objectives.gradient_matching import GradientMatching
from d3data.distill.objectives.kernel_matching import KernelMatching
from d3data.distill.objectives.kernel_regression import KernelRegression
from d3data.distill.objectives.mean_matching import MeanMatching
from d3data.distill.objectives.trajectory_matching import TrajectoryMatching
from d3data.distill.objectives.unrolled import Unrolled
from d3data.errors import entry, nearest

objectives: dict[str, type[Objective]] = {
    "mtt": TrajectoryMatching,
    "mmd": KernelMatching,
    "dm": MeanMatching,
    "dc": GradientMatching,
    "dd": Unrolled,
    "kip": KernelRegression,
    "frepo": FeatureRegression,
    "align": ExpertAlignment,
    "alternate": Alternate,
    "sum": WeightedSum,
}


def list_objectives() -> list[str]:
    """The kinds of the objectives that come with d3data, as recipes write them."""
    return list(objectives)


def get_objective(kind: str) -> type[Objective]:
    """The class of an objective by its kind.

    Raises:
        RecipeError: there is none.
    """
    return entry(objectives, kind, what="objective")


def _own_or_listed(value: Any, listed: ValidatorFunctionWrapHandler) -> Any:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind in objectives:
        return listed(value)
    if ":" not in kind:
        near = nearest(kind, objectives)
        raise ValueError(f"unknown kind {kind!r}: {near} One of your own is package.module:Class")
    return OwnObjective.model_validate(value)


if TYPE_CHECKING:
    AnyObjective = Objective
else:
    AnyObjective = Annotated[
        SerializeAsAny[functools.reduce(operator.or_, objectives.values())],
        Field(discriminator="kind"),
        WrapValidator(_own_or_listed),
    ]

for combined in (Alternate, WeightedSum):
    combined.model_rebuild(_types_namespace={"AnyObjective": AnyObjective})

__all__ = [
    "Alternate",
    "AnyObjective",
    "ExpertAlignment",
    "FeatureRegression",
    "GradientMatching",
    "KernelMatching",
    "KernelRegression",
    "MeanMatching",
    "Objective",
    "TrajectoryMatching",
    "Unrolled",
    "WeightedSum",
    "get_objective",
    "list_objectives",
    "objectives",
]
