"""A row of a report: networks that were trained on the same data."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Self

from d3data.evaluation.baselines.base import RowData
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
    """Networks that were trained on one set of images, and their accuracies.

    Attributes:
        name: `distilled`, or the baseline's.
        network: what was trained on it.
        labels: hard (classes), or soft (a probability for each class).
        note: how it was made, where the name does not say it.
        draws: the images of an epoch.
        images_per_class: real images of each class; None where new images are drawn.
        values: stored values, as papers count them; None where unknown.
        bytes: stored bytes; of real images as uint8; None where unknown.
        rates: each learning rate that was tried, and the validation accuracy of one network; the
            best rate was taken.
        mean: of the trials' accuracies, in [0, 1].
        std: their sample standard deviation (n - 1); None for one network.
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
        of: RowData,
        rates: Mapping[float, float] | None = None,
    ) -> Self:
        """The row of some trials; `of` is what the first one was trained on."""
        accuracies = [trial.accuracy for trial in trials]
        return cls(
            name=name,
            network=network,
            labels=labels,
            note=of.note,
            draws=len(of.data),
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
        """Training time of all trials."""
        return sum(trial.seconds for trial in self.trials)

    def cells(self) -> tuple[str, ...]:
        """The cells of the row in the table of accuracies, below `HEADINGS`."""
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
