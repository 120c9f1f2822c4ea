"""What an evaluation will do: everything is looked up and checked before anything is trained."""

import datetime
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from d3data.data.dataset import DistilledDataset
from d3data.errors import TrainingError
from d3data.evaluation import adapters, protocols, validate
from d3data.evaluation import baselines as rivals
from d3data.evaluation import estimate as estimating
from d3data.evaluation import networks as known
from d3data.evaluation.estimate import Estimate
from d3data.evaluation.protocol_epochs import trained_on
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import Labels
from d3data.evaluation.report import Report, SplitName
from d3data.evaluation.runner import Bench, Progress, ignore
from d3data.evaluation.scores import robust
from d3data.evaluation.setup import Build, Draws, Ground, Train
from d3data.evaluation.terms import Terms
from d3data.evaluation.trial_cache import Desk
from d3data.images.augment import augmentation
from d3data.images.tasks import Task, load_task
from d3data.nets.compute import Compute
from d3data.utils.device import as_device, useful_threads, using_threads
from d3data.utils.version import __version__

VERSIONS = {
    "python": platform.python_version(),
    "torch": torch.__version__,
    "torchvision": version("torchvision"),
    "d3data": __version__,
}


@dataclass(frozen=True)
class Plan:
    """An evaluation that can begin: `run` it, or `estimate` how long that takes here."""

    name: str
    draws: Draws
    ground: Ground
    split: SplitName
    sets: tuple[Draws, ...]
    rivals: tuple[str, ...]
    builds: Mapping[str, Build]
    seeds: tuple[int, ...]
    rival_seeds: tuple[int, ...]
    scores: bool
    keep: bool

    def run(
        self, *, progress: Callable[[Progress], None] = ignore, date: str | None = None
    ) -> Report:
        """Train and test every network; what was trained is kept until `clear`.

        Args:
            progress: called after every step.
            date: YYYY-MM-DD, for the report; today's.

        Raises:
            ArtifactError: the set makes values that are not finite.
            TrainingError: a loss is not finite.
        """
        desk = self.desk if self.keep else None
        bench = Bench(self.ground, self.seeds, self.rival_seeds, progress, desk)
        with using_threads(self.threads):
            rows = [
                row
                for network, build in self.builds.items()
                for row in bench.rows(self.sets, self.rivals, network, build)
            ]
            scores = None
            if self.scores:
                first = next(iter(self.builds.items()))
                plain = bench.unaugmented().rows(self.sets[:1], [rival(self.sets[0])], *first)
                scores = robust(rows, plain)
        of = self.draws.artifact.manifest if isinstance(self.draws, DistilledDataset) else None
        place, task = self.ground.device, self.ground.task
        return Report(
            data=f"{of.about.name} {of.about.version}" if of else self.name,
            content_sha256=of.content_sha256 if of else None,
            task=task.name,
            fingerprint=task.fingerprint,
            split=self.split,
            tests=len(self.ground.tests),
            classes=task.classes,
            protocol=self.ground.protocol,
            rows=tuple(rows),
            scores=scores,
            device=torch.cuda.get_device_name(place) if place.type == "cuda" else str(place),
            threads=self.threads,
            compiled=self.ground.compute.compile,
            versions=VERSIONS,
            date=date or datetime.date.today().isoformat(),
        )

    def clear(self) -> None:
        """The report is where it belongs: the trials that `run` keeps are not needed any more."""
        if self.keep:
            self.desk.clear()

    def estimate(self) -> Estimate:
        """How long `run` takes here, from a few steps of each network."""
        bench = Bench(self.ground, self.seeds, self.rival_seeds)
        with using_threads(self.threads):
            rows = estimating.guesses(bench, self.sets, self.rivals, self.builds)
            if self.scores:
                first = dict([next(iter(self.builds.items()))])
                plain = bench.unaugmented(), self.sets[:1], [rival(self.sets[0])], first
                rows += [one.unaugmented() for one in estimating.guesses(*plain)]
        return Estimate(protocol=self.ground.protocol.name, rows=tuple(rows))

    @property
    def terms(self) -> Terms:
        """What another evaluation must have in common with this one, to be compared."""
        protocol = self.ground.protocol
        return Terms(
            task=self.ground.task.fingerprint,
            split=self.split,
            protocol=protocol,
            network=next(iter(self.builds)),
            steps=protocol.length(len(trained_on(self.sets[0], protocol))),
            labels=validate.kind(self.sets[0]),
            seeds=self.seeds,
        )

    @property
    def threads(self) -> int:
        """How many of the CPU compute."""
        return useful_threads(self.ground.task.rule.size, torch.get_num_threads())

    @cached_property
    def desk(self) -> Desk:
        """Where trials are kept, under a name of everything that decides their numbers."""
        decisive = [
            validate.identity(self.draws),
            self.ground.task.fingerprint,
            self.split,
            self.ground.protocol.dump(),
            str(self.ground.device),
            self.threads,
            self.ground.compute.dump(),
            VERSIONS,
        ]
        kinds = [validate.kind(one) for one in self.sets]
        seeds = self.seeds, self.rival_seeds
        whose = [[*self.builds], *seeds, kinds, self.rivals, self.scores]
        return Desk.of(decisive, whose=whose)


def plan(
    data: Draws | Dataset[Any] | str | Path,
    task: Task | str | None = None,
    *,
    data_path: str | Path | None = None,
    protocol: str | Protocol = "standard",
    nets: str | Iterable[str] | None = None,
    networks: Mapping[str, known.Own] | None = None,
    train: Train | None = None,
    labels: Iterable[Labels] | None = None,
    seeds: Iterable[int] | None = None,
    baselines: str | Iterable[str] = ("random",),
    baseline_seeds: Iterable[int] | None = None,
    scores: bool = False,
    split: SplitName = "test",
    device: str = "cpu",
    compile: bool = False,
    resume: bool = True,
) -> Plan:
    """What `d3data.evaluate` will do; its arguments and errors are those."""
    settings = protocols.named(protocol) if isinstance(protocol, str) else protocol
    augmentation(settings.augment)
    protocols.require_own_name(settings)
    place = as_device(device)
    if nets is not None and networks is not None:
        raise TrainingError("nets names networks, and networks gives others: take one of the two")
    if compile and train is not None:
        raise TrainingError("a loop of your own compiles its networks itself: leave compile out")
    if isinstance(task, str):
        if adapters.is_distilled(data):
            validate.require_known_fit(adapters.opened(data, None), task)
        task = load_task(task, data=data_path)
    draws = adapters.opened(data, task)
    task = validate.origin(draws, data_path) if task is None else task
    tests = validate.tests(task, split)
    validate.require_fit(draws, task)
    if labels is None and settings.labels != "own":
        labels = (settings.labels,)
    sets = validate.labeled(draws, labels)
    if scores:
        sets = validate.scored(sets)
    builds = known.builders(known.wanted(nets, settings.network), networks, task)
    features = known.tell_features(builds.values())
    chosen = rivals.wanted(baselines, draws, features=features)
    more = [name for name in (rival(sets[0]), "real") if scores and name not in chosen]
    chosen += rivals.wanted(more, draws, features=features)
    validate.require_choices(task, [] if train else settings.learning_rates, chosen)
    own = validate.distinct(range(settings.networks) if seeds is None else seeds)
    theirs = own if baseline_seeds is None else validate.distinct(baseline_seeds, "baseline_seeds")
    return Plan(
        name=str(data) if isinstance(data, str | Path) else type(data).__name__,
        draws=draws,
        ground=Ground(task, tests, settings, place, train, Compute(compile=compile)),
        split=split,
        sets=tuple(sets),
        rivals=tuple(chosen),
        builds=builds,
        seeds=own,
        rival_seeds=theirs,
        scores=scores,
        keep=resume and not networks and train is None,
    )


def rival(draws: Draws) -> str:
    """The random images that a set is scored against: with labels of its own kind."""
    return "soft" if validate.kind(draws) == "soft" else "random"
