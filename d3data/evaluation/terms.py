"""What evaluations must have in common, so that their numbers may be compared."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from d3data.errors import DataError
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import Labels
from d3data.evaluation.report import Report


class Terms(NamedTuple):
    """How networks were trained and tested, as far as two sets must agree on it.

    Attributes:
        task: the fingerprint of the real images.
        split: which of them networks are tested on.
        protocol: in full.
        network: the first one.
        steps: that each network takes; the images that it sees, where the loop was the user's own.
        labels: of the set.
        seeds: of the networks.
    """

    task: str
    split: str
    protocol: Protocol
    network: str
    steps: int
    labels: Labels
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, report: Report) -> Self:
        """Those of a report, by its first row."""
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


SPELT = {"steps": "number of steps", "labels": "kind of labels"}


def require_alike(named: Sequence[tuple[str, Terms]]) -> None:
    """All sets, by name, are evaluated on the same terms, with two networks each at least.

    Raises:
        DataError: there are fewer than two, or they are not.
    """
    if len(named) < 2:
        raise DataError("one set alone cannot be compared: name at least two")
    first, common = named[0]
    for name, terms in named:
        for what, mine, others in zip(Terms._fields, terms, common, strict=True):
            if mine != others:
                raise DataError(
                    f"{name} is evaluated with another {SPELT.get(what, what)} than {first}: "
                    "evaluate both with the same one"
                )
        if len(terms.seeds) < 2:
            raise DataError(f"{name} has one network: two sets need at least two seeds each")
