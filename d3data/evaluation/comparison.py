"""Sets side by side: is the difference between two larger than that between networks?

Every set was trained on by networks of the same seeds, which begin alike: so their accuracies are
compared in pairs, by Student's t (Student 1908, Biometrika 6). All of them were tested on the same
images: where the networks agree more than so few images can tell, the error is that of the images
(McNemar 1947, Psychometrika 12).
"""

import math
import statistics
from collections.abc import Sequence
from itertools import combinations

from d3data.evaluation.report import Report
from d3data.evaluation.rows import Row
from d3data.evaluation.terms import Terms, require_alike
from d3data.utils.schema import Frozen

SURE = 0.95


class Difference(Frozen):
    """How much better one set is than another.

    Attributes:
        first: the one.
        second: the other.
        mean: of the differences of accuracy, over seeds; in [-1, 1].
        low: where the interval of 95 % around it begins.
        high: where it ends.
        p: how probable so large a difference is where there is none, of either sign.
    """

    first: str
    second: str
    mean: float
    low: float
    high: float
    p: float

    @property
    def noise(self) -> bool:
        """Whether the networks differ so much that the sets may not."""
        return self.low <= 0 <= self.high

    def line(self) -> str:
        """For people."""
        interval = f"{100 * self.low:+.1f} to {100 * self.high:+.1f} points, p = {self.p:.2g}"
        if self.noise:
            return f"{self.first} and {self.second}: within noise ({interval})"
        better, worse = (self.first, self.second) if self.mean > 0 else (self.second, self.first)
        return f"{better} is better than {worse} by {100 * abs(self.mean):.1f} points ({interval})"


class Comparison(Frozen):
    """Some sets of the same task under the same protocol, and each pair of them.

    The interval of each pair is that of one comparison; of twenty pairs of equal sets one is
    expected to differ.
    """

    rows: tuple[tuple[str, Row], ...]
    differences: tuple[Difference, ...]


def compare(reports: Sequence[Report]) -> Comparison:
    """Compare the sets of some reports, by the first network of each.

    Raises:
        DataError: fewer than two, or they were not made alike: another task, split, protocol,
            network, number of steps, kind of labels or seeds; or with one network each.
    """
    rows = [(_name(reports, number), report.rows[0]) for number, report in enumerate(reports)]
    require_alike(
        [(name, Terms.of(report)) for (name, _), report in zip(rows, reports, strict=True)]
    )
    tests = reports[0].tests
    differences = [_difference(*one, *other, tests) for one, other in combinations(rows, 2)]
    return Comparison(rows=tuple(rows), differences=tuple(differences))


def _difference(first: str, one: Row, second: str, other: Row, tests: int) -> Difference:
    from scipy.stats import t

    apart = [a.accuracy - b.accuracy for a, b in zip(one.trials, other.trials, strict=True)]
    mean, free = statistics.fmean(apart), len(apart) - 1
    error = max(statistics.stdev(apart) / len(apart) ** 0.5, _least_error(mean, tests))
    reach = error * float(t.ppf((1 + SURE) / 2, free))
    certain = 0.0 if mean else 1.0
    return Difference(
        first=first,
        second=second,
        mean=mean,
        low=mean - reach,
        high=mean + reach,
        p=2 * float(t.sf(abs(mean) / error, free)) if error else certain,
    )


def _least_error(mean: float, tests: int) -> float:
    """The standard error of a difference of accuracy, had the two agreed wherever they could.

    At least a share |mean| of the images is answered rightly by one and wrongly by the other.
    """
    return math.sqrt(abs(mean) * (1 - abs(mean)) / tests)


def _name(reports: Sequence[Report], number: int) -> str:
    """The set's name, numbered where another one has it."""
    name = reports[number].data
    twins = [report.data for report in reports].count(name)
    return f"{name} ({number + 1})" if twins > 1 else name
