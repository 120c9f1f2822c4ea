"""DD-Ranking's scores: what a set is worth beyond its labels and its augmentation.

Li et al. 2025, "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", arXiv 2505.13300.
Accuracies are shares in [0, 1], as the formulas mean them.
"""

import math
from collections.abc import Sequence

from d3data.errors import DataError
from d3data.evaluation.record import Row
from d3data.utils.schema import Frozen

LOW, HIGH = math.exp(-1), math.exp(1)


class Scores(Frozen):
    """The scores of one set.

    Attributes:
        recovery: HLR, accuracy on all real images minus that on the set with hard labels; smaller
            is better.
        improvement: IOR, accuracy on the set minus that on random real images with labels of the
            same kind; larger is better.
        label_robust: LRS of the two, in [0, 1].
        augmentation_robust: ARS, of the improvement with and without augmentation, in [0, 1].
    """

    recovery: float
    improvement: float
    label_robust: float
    augmentation_robust: float

    def lines(self) -> list[str]:
        return [
            f"hard label recovery (HLR, smaller is better)  {100 * self.recovery:.1f} points",
            f"improvement over random (IOR)                 {100 * self.improvement:.1f} points",
            f"label robust score (LRS)                      {self.label_robust:.3f}",
            f"augmentation robust score (ARS)               {self.augmentation_robust:.3f}",
        ]


def label_robust(improvement: float, recovery: float, *, weight: float = 0.5) -> float:
    """LRS = (exp(a) - exp(-1)) / (exp(1) - exp(-1)), a = w IOR - (1 - w) HLR."""
    return _unit(weight * improvement - (1 - weight) * recovery)


def augmentation_robust(augmented: float, plain: float, *, weight: float = 0.5) -> float:
    """ARS, likewise of b = g (improvement when augmented) + (1 - g) (improvement when not)."""
    return _unit(weight * augmented + (1 - weight) * plain)


def robust(augmented: Sequence[Row], plain: Sequence[Row]) -> Scores:
    """The scores of a set from its rows under a protocol, and under the same one unaugmented."""
    own = _row(augmented, "distilled", None)
    baseline = "soft" if own.labels == "soft" else "random"
    improvements = [
        _row(rows, "distilled", own.labels).mean - _row(rows, baseline, own.labels).mean
        for rows in (augmented, plain)
    ]
    recovery = _row(augmented, "real", "hard").mean - _row(augmented, "distilled", "hard").mean
    return Scores(
        recovery=recovery,
        improvement=improvements[0],
        label_robust=label_robust(improvements[0], recovery),
        augmentation_robust=augmentation_robust(*improvements),
    )


def _row(rows: Sequence[Row], name: str, labels: str | None) -> Row:
    """The row of that name, the one with soft labels first, unless `labels` says which."""
    matching = [row for row in rows if row.name == name and labels in (None, row.labels)]
    if not matching:
        kind = f" with {labels} labels" if labels else ""
        raise DataError(
            f"scores need a row `{name}`{kind}, and the report has none: evaluate the set again "
            "with --scores (scores=True)"
        )
    return max(matching, key=lambda row: row.labels == "soft")


def _unit(exponent: float) -> float:
    return (math.exp(exponent) - LOW) / (HIGH - LOW)
