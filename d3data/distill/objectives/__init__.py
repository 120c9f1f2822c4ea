"""The methods: one file each, one line each in the table.

A recipe may also name an objective of one's own, `kind = "package.module:Class"`, a subclass of
`Objective`. It is imported where the recipe is distilled, and nowhere else.
"""

import functools
import importlib
import operator
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SerializeAsAny, ValidatorFunctionWrapHandler, WrapValidator

from d3data.distill.objectives.base import Objective
from d3data.distill.objectives.combine import Alternate, WeightedSum
from d3data.distill.objectives.kernel_matching import KernelMatching
from d3data.distill.objectives.mean_matching import MeanMatching
from d3data.distill.objectives.trajectory_matching import TrajectoryMatching
from d3data.errors import RecipeError

objectives: dict[str, type[Objective]] = {
    "mtt": TrajectoryMatching,
    "mmd": KernelMatching,
    "dm": MeanMatching,
    "alternate": Alternate,
    "sum": WeightedSum,
}


def _own_or_listed(value: Any, listed: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, Objective):
        return value
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if isinstance(kind, str) and ":" in kind:
        return import_objective(kind).parse(value, where=f"the objective {kind}")
    return listed(value)


def import_objective(kind: str) -> type[Objective]:
    """The class that `package.module:Class` names, found as Python finds it, then in this folder.

    Raises:
        RecipeError: there is no such module or class, or it is not an `Objective`.
    """
    module, _, name = kind.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` has it, but last
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as failure:
        raise RecipeError(
            f"cannot import the objective {kind!r} ({failure}): install its package, or start in "
            "the folder that holds the module"
        ) from failure
    if not (isinstance(found, type) and issubclass(found, Objective)):
        raise RecipeError(
            f"{kind!r} is not an objective: make it a subclass of "
            "d3data.distill.objectives.Objective"
        )
    return found


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
    "KernelMatching",
    "MeanMatching",
    "Objective",
    "TrajectoryMatching",
    "WeightedSum",
    "import_objective",
    "objectives",
]
