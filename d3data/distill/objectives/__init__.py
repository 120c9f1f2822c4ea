"""The methods: one file each, one table for all."""

from typing import Annotated

from pydantic import Field

from d3data.distill.objectives.base import Objective
from d3data.distill.objectives.combine import Alternate, WeightedSum
from d3data.distill.objectives.kernel_matching import KernelMatching
from d3data.distill.objectives.mean_matching import MeanMatching
from d3data.distill.objectives.trajectory_matching import TrajectoryMatching

AnyObjective = Annotated[
    TrajectoryMatching | KernelMatching | MeanMatching | Alternate | WeightedSum,
    Field(discriminator="kind"),
]

objectives = {
    "mtt": TrajectoryMatching,
    "mmd": KernelMatching,
    "dm": MeanMatching,
    "alternate": Alternate,
    "sum": WeightedSum,
}

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
    "objectives",
]
