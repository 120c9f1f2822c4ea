"""Makes the rows of a report: networks of one kind on the set, then on each baseline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Any

from d3data.data.dataset import DistilledDataset
from d3data.errors import TrainingError
from d3data.evaluation import baselines, validate
from d3data.evaluation.adapters import Photographs
from d3data.evaluation.baselines import BaselineContext, RowData
from d3data.evaluation.protocol_epochs import trained_on
from d3data.evaluation.record import (
    Build,
    EvalSetup,
    Row,
    TrainingData,
    Trial,
    is_unbalanced,
)
from d3data.evaluation.trial_cache import TrialCache, TrialEntry
from d3data.evaluation.trial_training import TrialTraining, run_trial
from d3data.nets import Network
from d3data.nets.training import Watch
from d3data.utils.progress import Progress, ReportProgress, after_each_step, ignore
from d3data.utils.rng import generator, seeded

MOST_TEACHER_STEPS = 1500


@dataclass(frozen=True)
class Runner:
    """Trains and tests networks of one kind.

    Attributes:
        setup: the real images, the protocol, the device.
        network: what the report calls the network.
        build: makes it.
        seeds: of networks on the set.
        baseline_seeds: of networks on each baseline.
        progress: called after every step.
        cache: where trials are kept until the report is written; None keeps none.
    """

    setup: EvalSetup
    network: str
    build: Build
    seeds: tuple[int, ...]
    baseline_seeds: tuple[int, ...]
    progress: ReportProgress = ignore
    cache: TrialCache | None = None

    def rows(self, sets: Sequence[TrainingData], names: Sequence[str]) -> list[Row]:
        """A row for each of the sets, then for each of the baselines, by name, of the first."""
        rows = [
            self._row(
                "distilled",
                self.seeds,
                repeat(self.row_data(one)),
                rate=validate.own_rate(one) if self.setup.protocol.own_rate else None,
            )
            for one in sets
        ]
        context = self.context(sets[0])
        for name in names:
            make = baselines.get_baseline(name)
            rngs = (generator(seed, "baseline", name) for seed in self.baseline_seeds)
            made = (make(context, rng=rng) for rng in rngs)
            rows.append(self._row(name, self.baseline_seeds, made))
        return rows

    def unaugmented(self) -> "Runner":
        """The same without augmentation, and without images that are mixed."""
        plain = self.setup.protocol.model_copy(update={"augment": "none", "mix": "none"})
        cache = self.cache and self.cache.within("unaugmented")
        return replace(self, setup=replace(self.setup, protocol=plain), cache=cache)

    def row_data(self, data: TrainingData) -> RowData:
        """A set with the epochs of the protocol, and its size."""
        return RowData(trained_on(data, self.setup.protocol), None, *_size(data))

    def context(self, data: TrainingData) -> BaselineContext:
        """What the baselines of a set may use."""
        values, size = _size(data)
        protocol = self.setup.protocol

        def validated(name: str, rival: TrainingData, divisor: int) -> float:
            stage = f"choosing {name}, 1/{divisor} of the steps"
            steps = max(1, protocol.length(len(rival)) // divisor)
            return self._validated(stage, rival, seed=0, steps=steps)

        return BaselineContext(
            task=self.setup.task,
            data=data,
            values=values,
            bytes=size,
            train_teacher=self._teacher,
            validate=validated,
            device=self.setup.device,
            steps=protocol.length_on_real(
                len(self.setup.task.train), protocol.length(len(trained_on(data, protocol)))
            ),
            networks=len(self.baseline_seeds),
        )

    def _row(
        self,
        name: str,
        seeds: Sequence[int],
        made: Iterator[RowData],
        *,
        rate: float | None = None,
    ) -> Row:
        """`made` is what networks are trained on; at `rate`, or one of the protocol's if None."""
        first = next(made)
        labels = validate.kind(first.data)
        rates: dict[float, float] = {}
        if rate is None:
            rates = self._rates(f"{name}, {self.network}, {labels} labels", first)
            rate = max(rates, key=rates.__getitem__) if rates else None
        trials, codec = [], [first.note] if first.note else []
        for number, (seed, one) in enumerate(zip(seeds, chain([first], made), strict=False), 1):
            stage = f"{name}, {self.network}, network {number} of {len(seeds)}"
            entry = self._entry(name, labels, seed, *codec, steps=one.steps)
            trials.append(
                self._trial(stage, one.data, entry, seed=seed, rate=rate, steps=one.steps)
            )
        about: Any = {"network": self.network, "labels": labels, "of": first, "rates": rates}
        return Row.of(name, trials, **about, unbalanced=is_unbalanced(self.setup.tests))

    def _rates(self, stage: str, row: RowData) -> dict[float, float]:
        rates = self.setup.protocol.learning_rates
        if len(rates) == 1 or self.setup.train is not None:
            return {}
        how = {"seed": -1, "steps": row.steps}
        return {
            rate: self._validated(f"{stage}, rate {rate:g}", row.data, rate=rate, **how)
            for rate in rates
        }

    def _validated(self, stage: str, data: TrainingData, **how: Any) -> float:
        """The validation accuracy of one network; 0 where its loss did not stay finite."""
        runner = replace(self, setup=replace(self.setup, tests=self.setup.task.validation))
        try:
            entry = self._entry(stage, steps=how.get("steps"))
            return runner._trial(stage, data, entry, points=0, **how).accuracy
        except TrainingError:
            return 0.0

    def _teacher(self) -> Network:
        steps = teacher_steps(self.setup)
        watch = after_each_step(self.progress, f"teacher, {self.network}", steps)
        try:
            return train_teacher(self.build, self.setup, entry=self._entry("teacher"), watch=watch)
        except TrainingError as failure:
            protocol = self.setup.protocol
            raise TrainingError(
                f"teacher, {self.network}: {failure}; protocol {protocol.name} trains it at a "
                f"learning rate of {protocol.rate:g}: choose a protocol with a lower one, or "
                f"leave {', '.join(baselines.NEED_TEACHER)} out"
            ) from failure

    def _trial(
        self, stage: str, data: TrainingData, entry: TrialEntry | None, **how: Any
    ) -> Trial:
        """A trial; `how` are its seed, rate and steps."""
        protocol = self.setup.protocol
        how["steps"] = how["steps"] or protocol.length(len(data))
        watch = after_each_step(self.progress, stage, how["steps"])
        if entry and entry.finished():
            self.progress(Progress(stage, how["steps"], how["steps"], event="kept"))
        try:
            return run_trial(data, self.build, self.setup, entry=entry, watch=watch, **how)
        except TrainingError as failure:
            rates = ", ".join(f"{rate:g}" for rate in protocol.learning_rates)
            raise TrainingError(
                f"{stage} (seed {how['seed']}): {failure}; protocol {protocol.name} trains at a "
                f"learning rate of {rates}: choose a protocol with a lower one, or, to keep the "
                "protocol, distill the set again with lower learning rates"
            ) from failure

    def _entry(self, *name: str | float, steps: int | None = None) -> TrialEntry | None:
        """Where a trial is kept, of `steps` where it has not as many as its images ask for."""
        return self.cache.entry(*name, *([] if steps is None else [steps])) if self.cache else None


def train_teacher(
    build: Build, setup: EvalSetup, *, entry: TrialEntry | None = None, watch: Watch
) -> Network:
    """A network trained on all train images by the protocol, for `teacher_steps`."""
    with seeded(0, "teacher"):
        network = build().to(setup.device)
    if not isinstance(network, Network):
        raise TrainingError(
            "a teacher must be one of d3data's networks, whose features are used: leave out "
            f"{', '.join(baselines.NEED_TEACHER)}"
        )
    train = setup.task.train
    data = Photographs(train, train.labels)
    training = TrialTraining(network, data, setup, seed=0, steps=teacher_steps(setup))
    with setup.compute.precisely(setup.device):
        training.run(entry, watch)
        training.settle()
    return network


def teacher_steps(setup: EvalSetup) -> int:
    """The steps of a teacher: the protocol's, up to 1,500, for epochs of all images take days."""
    return min(setup.protocol.length(len(setup.task.train)), MOST_TEACHER_STEPS)


def _size(data: TrainingData) -> tuple[int | None, int | None]:
    if not isinstance(data, DistilledDataset):
        return None, None
    return data.ledger.published_values, data.ledger.content_bytes
