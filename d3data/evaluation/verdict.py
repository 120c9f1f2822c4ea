"""What a report says of a set in two sentences: accuracies with their errors, and what follows."""

import math
import statistics
from dataclasses import dataclass

from d3data.evaluation.record import Row
from d3data.evaluation.report import Report, called
from d3data.utils.text import counted, weight

EQUAL = ("compressed", "random-bytes")  # the baselines of as many bytes as the set
SURE = 2.0  # standard errors from which a difference is told


@dataclass(frozen=True)
class Measured:
    """A row's accuracy and its standard error, in per cent.

    The error has two parts: of the test images, p (1 - p) / n, and of the networks, var / m.
    """

    name: str
    accuracy: float
    error: float
    bytes: int | None
    equal: bool

    @classmethod
    def of(cls, row: Row, tests: int) -> "Measured":
        accuracies = [trial.accuracy for trial in row.trials]
        share = min(max(row.mean, 1 / (tests + 2)), 1 - 1 / (tests + 2))
        variance = share * (1 - share) / tests
        if len(accuracies) > 1:
            variance += statistics.variance(accuracies) / len(accuracies)
        return cls(
            called(row), 100 * row.mean, 100 * math.sqrt(variance), row.bytes, row.name in EQUAL
        )

    def __str__(self) -> str:
        size = "" if self.bytes is None else f" in {weight(self.bytes)}"
        return f"{self.name}{size} {self.accuracy:.1f} ± {self.error:.1f} %"


def verdict(report: Report) -> str:
    """Accuracies beside chance and baselines of equal bytes, and whether the set is worth its own.

    Two rows are told apart where they differ by twice the standard error of their difference. It
    is that of tests on different images: on the same ones it is smaller, so nothing is claimed
    too soon.
    """
    network = report.rows[0].network
    rows = [Measured.of(r, report.tests) for r in report.rows if r.network == network]
    own, rivals = rows[0], rows[1:]
    chance = 100 * report.guessing
    line = (
        f"{own}; " + "".join(f"{rival}; " for rival in rivals) + f"guessing reaches {chance:.1f} %"
        f" ({counted(report.tests, report.split + ' image')}, "
        f"{report.protocol.name}, {report.networks}; ± is the standard error)"
    )
    return f"{line}\n{_sentence(own, rivals, chance, report.tests)}"


def _sentence(own: Measured, rivals: list[Measured], chance: float, tests: int) -> str:
    if own.accuracy - chance < SURE * own.error:
        return (
            "Networks that were trained on it do no better than guessing, as far as so many "
            "images tell: give distillation more minutes or bytes."
        )
    equal = [rival for rival in rivals if rival.equal]
    if not equal:
        return "Whether it is worth its bytes is not known: no baseline has as many."
    best = max(equal, key=lambda rival: rival.accuracy)
    lead, error = own.accuracy - best.accuracy, math.hypot(own.error, best.error)
    if lead >= SURE * error:
        return f"It is worth its bytes: {lead:.1f} ± {error:.1f} points above {best.name}."
    if lead <= -SURE * error:
        return (
            f"It is not worth its bytes: {best.name} are {-lead:.1f} ± {error:.1f} points above "
            "it. Take these, or give distillation more minutes."
        )
    alike = (
        f"it differs by {lead:+.1f} ± {error:.1f} points from {best.name}, less than twice the "
        f"error, which {counted(tests, 'test image')} do not tell from 0."
    )
    if lead <= 0 and best.bytes and own.bytes and 2 * best.bytes < own.bytes:
        return f"It is not worth its bytes: {best.name} take {weight(best.bytes)}, and {alike}"
    return f"Whether it is worth its bytes cannot be told: {alike}"
