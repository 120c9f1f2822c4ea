"""A row of a report: networks that were trained on one thing."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Self

from d3data.evaluation.baselines.setting import Rival
from d3data.evaluation.record import Labels, Trial
from d3data.utils.schema import Frozen

HEADINGS = (
    "trained on",
    "network",
    "labels",
    "images/class",
    "values",
    "bytes",
    "accuracy %",
    "all seconds",
)


class Row(Frozen):
    """What networks reach on one set of images.

    Attributes:
        name: `distilled`, or the baseline's.
        network: what was trained on it.
        labels: hard, classes; or soft, a probability for each.
        note: how it was made, where the name does not say it.
        draws: the images of an epoch.
        images_per_class: real images of each class; None where images are drawn for ever.
        values: that are stored, as papers count them; None where the set does not say.
        bytes: that are stored; for real images as uint8; None where the set does not say.
        rates: the validation accuracy of one network for each learning rate that was tried; the
            best one's was taken.
        mean: of the trials' accuracies, in [0, 1].
        std: their standard deviation over networks (n - 1); None for one network.
        trials: each network's own numbers.
    """

    name: str
    network: str
    labels: Labels
    note: str
    draws: int
    images_per_class: int | None
    values: int | None
    bytes: int | None
    rates: tuple[tuple[float, float], ...]
    mean: float
    std: float | None
    trials: tuple[Trial, ...]

    @classmethod
    def of(
        cls,
        name: str,
        trials: Sequence[Trial],
        *,
        network: str,
        labels: Labels,
        of: Rival,
        rates: Mapping[float, float] | None = None,
    ) -> Self:
        """The row of some trials, the first of which was trained on `of`."""
        accuracies = [trial.accuracy for trial in trials]
        return cls(
            name=name,
            network=network,
            labels=labels,
            note=of.note,
            draws=len(of.draws),
            images_per_class=of.images_per_class,
            values=of.values,
            bytes=of.bytes,
            rates=tuple((rates or {}).items()),
            mean=statistics.fmean(accuracies),
            std=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            trials=tuple(trials),
        )

    @property
    def seconds(self) -> float:
        """What training took, of all trials."""
        return sum(trial.seconds for trial in self.trials)

    def cells(self) -> tuple[str, ...]:
        """What the table of accuracies says, under `HEADINGS`."""
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        counts = (self.images_per_class, self.values, self.bytes)
        return (
            self.name,
            self.network,
            self.labels,
            *("-" if count is None else f"{count:,}" for count in counts),
            f"{100 * self.mean:.1f}{spread}",
            f"{self.seconds:.0f}",
        )
