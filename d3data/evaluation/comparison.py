"""Sets side by side: is the difference between two larger than that between networks?

Networks of the same seeds were trained on every set, and begin with the same weights: so their
accuracies are compared in pairs, by Student's t (Student 1908, Biometrika 6). All were tested on
the same images: where networks agree more closely than so few images can tell, the error is that
of the images (McNemar 1947, Psychometrika 12).
"""

import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple, Self

from d3data.errors import DataError
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import Labels, Row
from d3data.evaluation.report import Report
from d3data.utils.packages import naming_packages
from d3data.utils.schema import Frozen

CONFIDENCE = 0.95


class Comparability(NamedTuple):
    """What two evaluations must share, so that their numbers may be compared."""

    task: str  # the fingerprint of the real images
    split: str
    protocol: Protocol
    network: str  # the first one
    steps: int  # under the user's own loop, the images that a network sees
    labels: Labels
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, report: Report) -> Self:
        row = report.rows[0]
        return cls(
            task=report.fingerprint,
            split=report.split,
            protocol=report.protocol,
            network=row.network,
            steps=row.trials[0].steps or row.trials[0].images,
            labels=row.labels,
            seeds=tuple(trial.seed for trial in row.trials),
        )


CALLED = {"task": "real images", "steps": "number of steps", "labels": "kind of labels"}


def require_comparable(evaluations: Sequence[tuple[str, Comparability]]) -> None:
    """All sets, by name, are evaluated in the same way, with two networks each at least."""
    if len(evaluations) < 2:
        raise DataError("one set alone cannot be compared: name at least two")
    first, expected = evaluations[0]
    for name, own in evaluations:
        for field, mine, others in zip(own._fields, own, expected, strict=True):
            if mine != others:
                raise DataError(
                    f"{name} and {first} are not evaluated with the same "
                    f"{CALLED.get(field, field)}{_versions(mine, others)}: evaluate one of them "
                    "again as the other"
                )
        if len(own.seeds) < 2:
            raise DataError(
                f"{name} is evaluated with one network: a comparison needs at least two of each "
                "set, --seeds 2 or more"
            )


def _versions(mine: object, others: object) -> str:
    """Which protocols two evaluations are of, where they differ in that."""
    if not (isinstance(mine, Protocol) and isinstance(others, Protocol)):
        return ""
    return f" ({mine.name} v{mine.version} and {others.name} v{others.version})"


class Difference(Frozen):
    """How much better one set is than another.

    Attributes:
        first: the name of the one.
        second: the name of the other.
        mean: over seeds, of the accuracy on the first minus that on the second; in [-1, 1].
        low: the lower end of the 95 % confidence interval.
        high: the upper end.
        p: the two-sided p-value.
    """

    first: str
    second: str
    mean: float
    low: float
    high: float
    p: float

    @property
    def noise(self) -> bool:
        """Whether the interval contains 0: the sets may be equally good."""
        return self.low <= 0 <= self.high

    def line(self) -> str:
        """The difference in words."""
        interval = f"{100 * self.low:+.1f} to {100 * self.high:+.1f} points, p = {self.p:.2g}"
        if self.noise:
            names = f"{self.first} and {self.second}"
            return f"{names}: within noise ({self.first} minus {self.second}: {interval})"
        better, worse = (self.first, self.second) if self.mean > 0 else (self.second, self.first)
        return f"{better} is better than {worse} by {100 * abs(self.mean):.1f} points ({interval})"


class Comparison(Frozen):
    """Sets of the same task under the same protocol, and each pair of them.

    The interval of each pair is that of one comparison: of twenty pairs of equal sets one is
    expected to differ.
    """

    rows: tuple[tuple[str, Row], ...]
    differences: tuple[Difference, ...]


@naming_packages()
def compare(reports: Sequence[Report]) -> Comparison:
    """Compare the sets of several reports, by the first network of each.

    Raises:
        DataError: fewer than two, or they do not share the task, split, protocol, network, number
            of steps, kind of labels or seeds; or with one network each.
    """
    data = [report.data for report in reports]
    names = [f"{one} ({n})" if data.count(one) > 1 else one for n, one in enumerate(data, 1)]
    require_comparable([*zip(names, map(Comparability.of, reports), strict=True)])
    rows = [*zip(names, (report.rows[0] for report in reports), strict=True)]
    tests = reports[0].tests
    differences = [_difference(*one, *other, tests) for one, other in combinations(rows, 2)]
    return Comparison(rows=tuple(rows), differences=tuple(differences))


def _difference(first: str, one: Row, second: str, other: Row, tests: int) -> Difference:
    from scipy.stats import t

    apart = [a.accuracy - b.accuracy for a, b in zip(one.trials, other.trials, strict=True)]
    mean, free = statistics.fmean(apart), len(apart) - 1
    # on at least a share |mean| of the images one is correct and the other is not
    least_error = math.sqrt(abs(mean) * (1 - abs(mean)) / tests)
    error = max(statistics.stdev(apart) / len(apart) ** 0.5, least_error)
    reach = error * float(t.ppf((1 + CONFIDENCE) / 2, free))
    certain = 0.0 if mean else 1.0
    return Difference(
        first=first,
        second=second,
        mean=mean,
        low=mean - reach,
        high=mean + reach,
        p=2 * float(t.sf(abs(mean) / error, free)) if error else certain,
    )
