"""The numbers of an evaluation: an immutable record, JSON, and tables for terminals."""

import statistics
from collections.abc import Sequence
from typing import ClassVar, Literal

from d3data.artifact.artifact import Artifact
from d3data.errors import FormatError
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import Row
from d3data.evaluation.scores import Scores
from d3data.nets.compute import Precision
from d3data.utils import canonical_json
from d3data.utils.schema import Extended
from d3data.utils.text import counted, spans, table

SplitName = Literal["test", "validation"]
WORDS = 3  # columns of words, before those of numbers


class Report(Extended):
    """One set of images under one protocol, with its baselines.

    Attributes:
        format: of this record.
        data: the set's name.
        content_sha256: identifies what was trained on; None for a set that is no artifact.
        task: the name of the real images.
        fingerprint: identifies them, their preprocessing and their splits.
        split: which of them the networks were tested on.
        tests: how many those are.
        classes: their names, in the order of `Trial.per_class`.
        protocol: how networks were trained, in full.
        rows: for each network the set first, then the baselines.
        scores: what the set is worth beyond its labels and its augmentation, if asked for.
        device: what trained them.
        threads: of the CPU.
        compiled: whether networks were trained through torch.compile.
        precision: of what their convolutions and matrix products took while they were trained.
        variety: how far draws of one item are apart, over draws of two items of its class.
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
    scores: Scores | None = None
    device: str
    threads: int
    compiled: bool = False
    precision: Precision = "float32"
    variety: float | None = None
    versions: dict[str, str]
    date: str

    later: ClassVar[frozenset[str]] = frozenset({"precision", "variety"})

    @property
    def own_loop(self) -> bool:
        """Whether the user's own training loop trained the networks, and not the protocol."""
        return self.rows[0].trials[0].steps == 0

    @property
    def guessing(self) -> float:
        """The accuracy of naming the class that most test images are of; in [0, 1].

        Of more than 100 classes there is no count, and as many images of each are assumed.
        """
        counts = [*map(sum, self.rows[0].trials[0].confusion or ())]
        return max(counts) / sum(counts) if sum(counts) else 1 / len(self.classes)

    @property
    def networks(self) -> str:
        """How many networks were trained for each row, in words."""
        own = len(self.rows[0].trials)
        text = counted(own, "network")
        rivals = {len(row.trials) for row in self.rows if row.name != "distilled"} - {own}
        if not rivals:
            return f"{text} for each row"
        return f"{text} on the set, {', '.join(map(str, rivals))} on each baseline"

    @property
    def reestimated(self) -> str:
        """Which networks were tested with statistics that training had not brought; or nothing."""
        trials = [(row.network, trial.reestimated) for row in self.rows for trial in row.trials]
        draws = {name: max(n for own, n in trials if own == name) for name, _ in trials}
        networks = [f"{name} ({count:,} draws)" for name, count in draws.items() if count]
        if not networks:
            return ""
        return (
            "Running statistics of norms were estimated again before the test, as training was "
            f"too short for them: {', '.join(networks)}."
        )

    @property
    def drawn(self) -> str:
        """How much the set's draws differ, in a sentence; or nothing."""
        if self.variety is None:
            return ""
        if not self.variety:
            return "Draws of one item are all the same."
        apart = f"{100 * self.variety:.2g} %"
        return f"Draws of one item are {apart} as far apart as draws of two items of its class."

    def table(self) -> str:
        """Accuracies as text, below a line that says how they were measured."""
        title = (
            f"{self.data} on {self.task}: {self.tests:,} {self.split} images, protocol "
            f"{self.protocol.name} v{self.protocol.version}, {self.networks}, "
            f"guessing reaches {100 * self.guessing:.1f} %"
        )
        rows = _table([row.cells() for row in self.rows])
        notes = dict.fromkeys(f"{row.name}: {row.note}" for row in self.rows if row.note)
        notes |= dict.fromkeys(filter(None, [self.reestimated, self.drawn]))
        return "\n".join([title, rows, *notes, *(self.scores.lines() if self.scores else [])])

    def costs(self) -> str:
        """What training one network costs, as text; the mean over a row's networks."""
        return _table([self.cost(row) for row in self.rows])

    def seconds_on_real(self, row: Row) -> float | None:
        """Training time on all real images until they are as good on validation as `row`.

        None where no row `real` has this network, there is no curve, or it never is as good.
        """
        mine = [trial.curve[-1].accuracy for trial in row.trials if trial.curve]
        real = [one for one in self.rows if (one.name, one.network) == ("real", row.network)]
        if not mine or not real:
            return None
        goal = statistics.fmean(mine)
        curves = [trial.curve for one in real for trial in one.trials]
        reached = [[p.seconds for p in curve if p.accuracy >= goal] for curve in curves]
        return statistics.fmean(one[0] for one in reached) if all(reached) else None

    def cost(self, row: Row) -> dict[str, str]:
        """The cells of a row in the table of costs, by their headings."""
        first, real = row.trials[0], self.seconds_on_real(row)
        memory = [trial.memory for trial in row.trials if trial.memory is not None]
        return {
            "each network on": row.name,
            "network": row.network,
            "labels": row.labels,
            "steps": f"{first.steps:,}",
            "images": f"{first.images:,}",
            "TFLOP": "-" if first.flops is None else f"{first.flops / 1e12:,.3g}",
            "seconds": f"{row.seconds / len(row.trials):.1f}",
            "peak MB": f"{max(memory) / 1e6:,.0f}" if memory else "-",
            "seconds on real": "-" if real is None else f"{real:.1f}",
        }


CALLED = {
    "distilled": "this set",
    "random": "random real images",
    "random-bytes": "random real images of equal bytes",
    "compressed": "compressed real images",
    "soft": "random real images, soft labels",
    "means": "its means without noise",
    "real": "all real images",
}


def measured(report: Report) -> str:
    """How the results of a report were measured, in one paragraph."""
    rule = report.protocol
    seeds = sorted({trial.seed for row in report.rows for trial in row.trials})
    length = f"{rule.steps:,} steps" if rule.steps else f"{rule.epochs:,} epochs"
    trained = (
        f"trained for {length} of {rule.batch} images ({rule.trained}, {rule.schedule}; "
        f"augmentation {rule.augment}; seeds {spans(seeds)})"
    )
    if report.own_loop:
        trained = f"trained by the user’s own loop (seeds {spans(seeds)})"
    return (
        f"Protocol {rule.name} v{rule.version}: {report.networks} "
        f"({', '.join(dict.fromkeys(row.network for row in report.rows))}), "
        f"{trained} and tested once, after the last step, on {report.tests:,} "
        f"{report.split} images of {report.task}; mean ± standard deviation of networks. "
        f"Guessing reaches {100 * report.guessing:.1f} %. Measured {report.date} on "
        f"{report.device}, {counted(report.threads, 'thread')}, {'compiled, ' * report.compiled}"
        f"{f'{report.precision}, ' * (report.precision != 'float32')}"
        + ", ".join(f"{name} {v}" for name, v in sorted(report.versions.items()))
        + f". {report.reestimated}".rstrip()
        + f" {report.drawn}".rstrip()
    )


def _table(rows: Sequence[dict[str, str]]) -> str:
    return table([*rows[0]], [[*row.values()] for row in rows], words=WORDS)


def called(row: Row) -> str:
    """The name of a row for readers."""
    return CALLED.get(row.name, row.name)


REPORT = "report.json"


def stored_report(artifact: Artifact) -> Report | None:
    """The report that an artifact lists, if any.

    Raises:
        ArtifactError: the file was changed, or is no report.
    """
    if REPORT not in {entry.path for entry in artifact.manifest.files}:
        return None
    return read_report(artifact.file(REPORT), where=str(artifact.folder / REPORT))


def read_report(page: bytes, *, where: str) -> Report:
    """The report in the bytes of a file that `d3data evaluate --out` wrote.

    Raises:
        FormatError: it is none.
    """
    return Report.parse(canonical_json.decode(page, where=where), where=where, error=FormatError)
