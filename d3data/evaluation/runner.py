"""Where the rows of a report are made: they share the real images, the protocol and the seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from d3data.data.dataset import DistilledDataset
from d3data.errors import TrainingError
from d3data.evaluation import baselines, trials, validate
from d3data.evaluation.adapters import Pictures
from d3data.evaluation.baselines import Rival, Setting
from d3data.evaluation.protocol_epochs import trained_on
from d3data.evaluation.record import Trial
from d3data.evaluation.rows import Row
from d3data.evaluation.setup import Build, Draws, Ground
from d3data.evaluation.trial_cache import Desk, Slot
from d3data.evaluation.trial_training import Course
from d3data.nets import Network, training
from d3data.nets.training import Watch
from d3data.utils.rng import generator, seeded

TAUGHT = 1500  # steps at most


class Progress(NamedTuple):
    """`step` of `steps` is done of what `stage` names; training has a loss."""

    stage: str
    step: int
    steps: int
    loss: float | None = None


def ignore(progress: Progress) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class Bench:
    """The real images, the protocol, the seeds, and where trials are kept that take long.

    Attributes:
        seeds: of networks on sets.
        rival_seeds: of networks on each baseline.
    """

    ground: Ground
    seeds: tuple[int, ...]
    rival_seeds: tuple[int, ...]
    progress: Callable[[Progress], None] = ignore
    desk: Desk | None = None

    def rows(
        self, sets: Sequence[Draws], rivals: Sequence[str], network: str, build: Build
    ) -> list[Row]:
        """Networks of one kind on each of some sets, then on the rivals of the first."""
        own = replace(self, desk=self.desk and self.desk.within(network))
        setting = own.setting(sets[0], network, build)
        made = [
            own._row("distilled", network, build, own._itself(one), self.seeds) for one in sets
        ]
        made += [
            own._row(name, network, build, _seeded(name, setting), self.rival_seeds)
            for name in rivals
        ]
        return made

    def unaugmented(self) -> "Bench":
        """The same without augmentation, and without images that are mixed."""
        bare = self.ground.protocol.model_copy(update={"augment": "none", "mix": "none"})
        desk = self.desk and self.desk.within("unaugmented")
        return replace(self, ground=replace(self.ground, protocol=bare), desk=desk)

    def _itself(self, draws: Draws) -> Callable[[int], Rival]:
        rival = Rival(trained_on(draws, self.ground.protocol), None, *_size(draws))
        return lambda seed: rival

    def setting(self, draws: Draws, network: str, build: Build) -> Setting:
        """What baselines may look at; their networks are those that `build` makes."""
        values, size = _size(draws)
        protocol = self.ground.protocol
        return Setting(
            task=self.ground.task,
            draws=draws,
            values=values,
            bytes=size,
            teach=lambda: self._taught(network, build),
            judge=lambda what, rival, part: self._judged(
                f"choosing {what}, 1/{part} of the steps",
                rival,
                build,
                seed=0,
                steps=max(1, protocol.length(len(rival)) // part),
            ),
            device=self.ground.device,
            steps=protocol.length(len(trained_on(draws, protocol))),
        )

    def _row(
        self,
        name: str,
        network: str,
        build: Build,
        make: Callable[[int], Rival],
        seeds: Sequence[int],
    ) -> Row:
        first = make(seeds[0])
        labels = validate.kind(first.draws)
        rates = self._rates(f"{name}, {network}, {labels} labels", first, build)
        rate = max(rates, key=rates.__getitem__) if rates else None
        trials = []
        for number, seed in enumerate(seeds, 1):
            rival = first if number == 1 else make(seed)
            stage = f"{name}, {network}, network {number} of {len(seeds)}"
            slot = self.desk.slot(name, labels, seed) if self.desk else None
            trials.append(
                self._trial(stage, rival.draws, build, seed, rate, steps=rival.steps, slot=slot)
            )
        return Row.of(name, trials, network=network, labels=labels, of=first, rates=rates)

    def _rates(self, stage: str, rival: Rival, build: Build) -> dict[float, float]:
        """The validation accuracy that each of several learning rates gives one network."""
        rates = self.ground.protocol.learning_rates
        if len(rates) == 1 or self.ground.train is not None:
            return {}
        return {
            rate: self._judged(
                f"{stage}, rate {rate:g}",
                rival.draws,
                build,
                seed=-1,
                rate=rate,
                steps=rival.steps,
            )
            for rate in rates
        }

    def _judged(
        self,
        stage: str,
        draws: Draws,
        build: Build,
        *,
        seed: int,
        rate: float | None = None,
        steps: int | None = None,
    ) -> float:
        """The validation accuracy of one network; nought where its loss did not stay finite."""
        ground = replace(self.ground, tests=self.ground.task.validation)
        slot = self.desk.slot(stage) if self.desk else None
        try:
            return self._trial(
                stage, draws, build, seed, rate, steps=steps, slot=slot, ground=ground
            ).accuracy
        except TrainingError:
            return 0.0

    def _taught(self, network: str, build: Build) -> Network:
        stage, slot = f"teacher, {network}", self.desk.slot("teacher") if self.desk else None
        steps = lessons(self.ground)
        try:
            return taught(build, self.ground, slot=slot, watch=self._watch(stage, steps))
        except TrainingError as failure:
            raise TrainingError(
                f"{stage}: {failure}; {self.ground.protocol.name} trains it at "
                f"{self.ground.protocol.rate:g}: where that must stay, leave "
                f"{', '.join(baselines.TAUGHT)} out"
            ) from failure

    def _trial(
        self,
        stage: str,
        draws: Draws,
        build: Build,
        seed: int,
        rate: float | None,
        *,
        steps: int | None = None,
        slot: Slot | None = None,
        ground: Ground | None = None,
    ) -> Trial:
        protocol = self.ground.protocol
        try:
            return trials.run(
                draws,
                build,
                ground or self.ground,
                seed=seed,
                rate=rate,
                steps=steps,
                slot=slot,
                watch=self._watch(stage, steps or protocol.length(len(draws))),
            )
        except TrainingError as failure:
            told = ", ".join(f"{rate:g}" for rate in protocol.learning_rates)
            raise TrainingError(
                f"{stage} (seed {seed}): {failure}; {protocol.name} trains at {told}: where that "
                "must stay, distil the set again with lower ones"
            ) from failure

    def _watch(self, stage: str, steps: int) -> Callable[[int, torch.Tensor], None]:
        def watch(step: int, loss: torch.Tensor) -> None:
            self.progress(Progress(stage, step + 1, steps, loss.item()))

        return watch


def taught(
    build: Build, ground: Ground, *, slot: Slot | None = None, watch: Watch = training.ignore
) -> Network:
    """A network trained on all train images as the protocol says, for `lessons`.

    Raises:
        TrainingError: it does not tell its features, or a loss is not finite.
    """
    with seeded(0, "teacher"):
        network = build().to(ground.device)
    if not isinstance(network, Network):
        raise TrainingError(
            "baselines that a teacher chooses need one of d3data's networks, which tell their "
            "features: leave herding, k-center, k-means and soft out"
        )
    images, rate = Pictures(ground.task.train), ground.protocol.rate
    Course(network, images, ground, seed=0, rate=rate, steps=lessons(ground)).go(slot, watch)
    return network


def lessons(ground: Ground) -> int:
    """The steps of a teacher: the protocol's, up to `TAUGHT`; epochs of all images take days."""
    return min(ground.protocol.length(len(ground.task.train)), TAUGHT)


def _seeded(name: str, setting: Setting) -> Callable[[int], Rival]:
    """What makes a baseline for a seed."""
    make = baselines.named(name)
    return lambda seed: make(setting, rng=generator(seed, "baseline", name))


def _size(draws: Draws) -> tuple[int | None, int | None]:
    """The values and the bytes that a set stores, where it says so."""
    if not isinstance(draws, DistilledDataset):
        return None, None
    return draws.ledger.published_values, draws.ledger.content_bytes
