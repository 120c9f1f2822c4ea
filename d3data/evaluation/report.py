"""The numbers of an evaluation: an immutable record, JSON, and a table for terminals."""

import statistics
from collections.abc import Sequence
from typing import Literal, Self

from d3data.evaluation.protocols import Protocol
from d3data.evaluation.trials import Trial
from d3data.frozen import Frozen

SplitName = Literal["test", "validation"]
HEADINGS = ("trained on", "images/class", "values", "bytes", "accuracy %", "seconds")


class Row(Frozen):
    """What networks reach on one set of images.

    Attributes:
        name: `distilled`, or the baseline's.
        images_per_class: real images of each class; None where images are drawn for ever.
        values: that are stored, as papers count them; None where the set does not say.
        bytes: that are stored; for real images as uint8; None where the set does not say.
        mean: of the trials' accuracies, in [0, 1].
        std: their standard deviation over networks (n - 1); None for one network.
        trials: each network's own numbers.
    """

    name: str
    images_per_class: int | None
    values: int | None
    bytes: int | None
    mean: float
    std: float | None
    trials: tuple[Trial, ...]

    @classmethod
    def of(
        cls,
        name: str,
        trials: Sequence[Trial],
        *,
        images_per_class: int | None,
        values: int | None,
        stored: int | None,
    ) -> Self:
        """The row of some trials."""
        accuracies = [trial.accuracy for trial in trials]
        return cls(
            name=name,
            images_per_class=images_per_class,
            values=values,
            bytes=stored,
            mean=statistics.fmean(accuracies),
            std=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            trials=tuple(trials),
        )

    @property
    def seconds(self) -> float:
        """What its trials took."""
        return sum(trial.seconds for trial in self.trials)

    def cells(self) -> tuple[str, ...]:
        """What the table says, under `HEADINGS`."""
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        counts = (self.images_per_class, self.values, self.bytes)
        return (
            self.name,
            *("-" if count is None else f"{count:,}" for count in counts),
            f"{100 * self.mean:.1f}{spread}",
            f"{self.seconds:.0f}",
        )


class Report(Frozen):
    """One set of images under one protocol, with its baselines.

    Attributes:
        format: of this record.
        data: the set's name.
        content_sha256: identifies what was trained on; None for a set that is no artifact.
        task: the name of the real images.
        fingerprint: identifies them, their rule and their split.
        split: which of them the networks were tested on.
        tests: how many those are.
        classes: their names, in the order of `Trial.per_class`.
        protocol: how networks were trained, in full.
        rows: the set first, then the baselines.
        device: what trained them.
        threads: of the CPU.
        versions: of python, torch and d3data.
        date: YYYY-MM-DD.
    """

    format: Literal[1] = 1
    data: str
    content_sha256: str | None
    task: str
    fingerprint: str
    split: SplitName
    tests: int
    classes: tuple[str, ...]
    protocol: Protocol
    rows: tuple[Row, ...]
    device: str
    threads: int
    versions: dict[str, str]
    date: str

    def table(self) -> str:
        """The rows as text, under a line that says what was done."""
        networks = len(self.rows[0].trials)
        lines = [HEADINGS, *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        title = (
            f"{self.data} on {self.task}: {self.tests:,} {self.split} images, protocol "
            f"{self.protocol.name} v{self.protocol.version}, "
            f"{networks} network{'s' * (networks > 1)}"
        )
        return "\n".join([title, *(_aligned(line, widths) for line in lines)])


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The first cell to the left, the others to the right."""
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)])
