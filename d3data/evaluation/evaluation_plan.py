"""An evaluation whose parts are all checked: run, estimated, or cut to some minutes."""

import contextlib
import datetime
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from d3data.data.dataset import DistilledDataset
from d3data.errors import DeviceError, RunError
from d3data.evaluation import validate
from d3data.evaluation.comparison import Comparability
from d3data.evaluation.estimate import Estimate, RowEstimate, Speed, estimate_rows, speed
from d3data.evaluation.protocol_epochs import trained_on
from d3data.evaluation.record import Build, EvalSetup, TrainingData
from d3data.evaluation.report import Report, SplitName
from d3data.evaluation.runner import Runner
from d3data.evaluation.scores import robust
from d3data.evaluation.trial_cache import TrialCache
from d3data.evaluation.variety import variety
from d3data.utils.atomic import write_json
from d3data.utils.device import (
    device_name,
    enough_memory,
    using_threads,
)
from d3data.utils.progress import ReportProgress, ignore
from d3data.utils.version import __version__

LEAST_STEPS = 100  # of a network, however few minutes there are
LESS = "choose a protocol with a smaller batch or network, fewer --workers, or another device"
VERSIONS: dict[str, str] = {
    "python": platform.python_version(),
    "torch": str(torch.__version__),
    "torchvision": version("torchvision"),
    "d3data": __version__,
}


@dataclass(frozen=True)
class EvaluationPlan:
    """An evaluation that can begin: `run` it, or `estimate` how long that takes here."""

    name: str
    data: TrainingData
    setup: EvalSetup
    split: SplitName
    sets: tuple[TrainingData, ...]
    baselines: tuple[str, ...]
    builds: Mapping[str, Build]
    seeds: tuple[int, ...]
    baseline_seeds: tuple[int, ...]
    scores: bool
    keep: bool
    threads: int  # of the CPU, that compute
    fitted: Path | None = None  # where it is kept how much of it fits
    kept: Path | None = None  # where trials are kept, if not in this user's cache

    def run(self, *, progress: ReportProgress = ignore, date: str | None = None) -> Report:
        """Train and test every network; trials are kept in the cache until `clear`."""
        with using_threads(self.threads), enough_memory(LESS):
            runners = self._runners(progress)
            rows = [row for each in runners for row in each.rows(self.sets, self.baselines)]
            scores = None
            if self.scores:
                names = [scored_against(self.sets[0])]
                scores = robust(rows, runners[0].unaugmented().rows(self.sets[:1], names))
        artifact = self.data.artifact if isinstance(self.data, DistilledDataset) else None
        return Report(
            variety=variety(artifact) if artifact else None,
            split=self.split,
            tests=len(self.setup.tests),
            classes=self.setup.task.classes,
            rows=tuple(rows),
            scores=scores,
            threads=self.threads,
            compiled=self.setup.compute.compile,
            precision=self.setup.compute.passes(self.setup.device.type)["precision"],
            **provenance(self.data, self.setup, date, name=self.name),
        )

    def train(self, number: int, count: int, *, progress: ReportProgress = ignore) -> None:
        """Train every `count`-th network on the set, and baseline, from `number` on."""
        with using_threads(self.threads):
            for each in self._runners(progress):
                share = replace(each, seeds=self.seeds[number::count])
                share.rows(self.sets, self.baselines[number::count])

    def clear(self) -> None:
        """Remove the trials that `run` keeps, once the report is where it belongs."""
        if self.keep:
            self.cache.clear()
        if self.fitted is not None:
            self.fitted.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others are there
                self.fitted.parent.rmdir()

    def estimate(self) -> Estimate:
        """How long `run` takes here, from a few steps of each network."""
        return self._estimate(self._speeds())

    def within(self, minutes: float) -> "EvaluationPlan":
        """The same with fewer networks, and where one is too long with fewer steps, in `minutes`.

        Not below 100 steps. The protocol that is cut has its steps in its name. What is chosen is
        kept until `clear`, so that an evaluation that was stopped goes on as it began.
        """
        fitted = self.cache.folder / f"{minutes:g}-{self.cache.owner}.json"
        try:
            chosen = json.loads(fitted.read_text("utf-8"))
            plan = self._cut(int(chosen["networks"]), chosen["steps"])
        except (OSError, ValueError, KeyError, TypeError):
            plan = self._fitting(60 * minutes)
            if not self.keep:
                return plan
            chosen = {"networks": len(plan.seeds), "steps": plan.setup.protocol.steps}
            with contextlib.suppress(RunError):  # then it is chosen anew
                write_json(fitted, chosen)
        return replace(plan, fitted=fitted)

    def _fitting(self, seconds: float) -> "EvaluationPlan":
        speeds, full = self._speeds(), self.setup.protocol.steps
        lengths = [full]
        while full is not None and lengths[-1] is not None and lengths[-1] > LEAST_STEPS:
            lengths.append(max(LEAST_STEPS, round(0.8 * lengths[-1])))
        plan = self
        for networks, steps in [
            *((count, full) for count in range(len(self.seeds), 0, -1)),
            *((1, steps) for steps in lengths[1:]),
        ]:
            plan = self._cut(networks, steps)
            if plan._estimate(speeds).seconds <= seconds:
                break
        return plan

    def _cut(self, networks: int, steps: int | None) -> "EvaluationPlan":
        """The first `networks` of each row, each trained for `steps`."""
        protocol = self.setup.protocol
        if networks >= len(self.seeds) and steps == protocol.steps:
            return self
        if steps != protocol.steps:
            changed = {"steps": steps, "name": f"{protocol.name}-{steps}"}
            protocol = protocol.model_copy(update=changed)
        return replace(
            self,
            setup=replace(self.setup, protocol=protocol),
            seeds=self.seeds[:networks],
            baseline_seeds=self.baseline_seeds[:networks],
        )

    def _speeds(self) -> list[Speed]:
        with using_threads(self.threads), enough_memory(LESS):
            return [speed(each, self.sets[0]) for each in self._runners(ignore)]

    def _estimate(self, speeds: Sequence[Speed]) -> Estimate:
        runners, rows = self._runners(ignore), list[RowEstimate]()
        for each, at in zip(runners, speeds, strict=True):
            rows += estimate_rows(each, self.sets, self.baselines, at)
        if self.scores:
            names = [scored_against(self.sets[0])]
            for row in estimate_rows(runners[0].unaugmented(), self.sets[:1], names, speeds[0]):
                name = f"{row.name} without augmentation"
                rows.append(row.model_copy(update={"name": name}))
        return Estimate(protocol=self.setup.protocol.name, rows=tuple(rows))

    @property
    def comparability(self) -> Comparability:
        """What another evaluation must share with this one, to be compared with it."""
        protocol = self.setup.protocol
        return Comparability(
            task=self.setup.task.fingerprint,
            split=self.split,
            protocol=protocol,
            network=next(iter(self.builds)),
            steps=protocol.length(len(trained_on(self.sets[0], protocol))),
            labels=validate.kind(self.sets[0]),
            seeds=self.seeds,
        )

    @cached_property
    def cache(self) -> TrialCache:
        """Where trials are kept, under a name of everything that decides their numbers."""
        settings = [
            validate.identity(self.data),
            self.setup.task.fingerprint,
            self.split,
            self.setup.protocol.dump(),
            device_name(self.setup.device),
            self.threads,
            self.setup.compute.dump(),
            VERSIONS,
        ]
        kinds, seeds = [*map(validate.kind, self.sets)], (self.seeds, self.baseline_seeds)
        owner = [[*self.builds], *seeds, kinds, self.baselines, self.scores]
        usual = TrialCache.of(settings, owner=owner)
        return usual if self.kept is None else replace(usual, folder=self.kept)

    def kept_in(self, folder: Path) -> "EvaluationPlan":
        """The same with its trials in the cache of another machine, which computes alike."""
        if self.cache.folder.name != folder.name:
            raise DeviceError(
                f"{platform.node()} computes otherwise than the machine that asks for the report, "
                "whose trials cannot stand beside its own: give both the same kind of device, the "
                "same images and the same versions of d3data and torch"
            )
        return replace(self, kept=folder)

    def _runners(self, progress: ReportProgress) -> list[Runner]:
        seeds = self.seeds, self.baseline_seeds
        caches = {name: self.cache.within(name) if self.keep else None for name in self.builds}
        return [
            Runner(self.setup, network, build, *seeds, progress, caches[network])
            for network, build in self.builds.items()
        ]


def provenance(
    data: TrainingData, setup: EvalSetup, date: str | None, *, name: str
) -> dict[str, Any]:
    """What reports and audits say of the set, the real images, the protocol and the machine."""
    page = data.artifact.manifest if isinstance(data, DistilledDataset) else None
    return {
        "data": f"{page.about.name} {page.about.version}" if page else name,
        "content_sha256": page.content_sha256 if page else None,
        "task": setup.task.name,
        "fingerprint": setup.task.fingerprint,
        "protocol": setup.protocol,
        "device": device_name(setup.device),
        "versions": VERSIONS,
        "date": date or datetime.date.today().isoformat(),
    }


def scored_against(data: TrainingData) -> str:
    """The baseline that a set is scored against: random images with labels of its own kind."""
    return "soft" if validate.kind(data) == "soft" else "random"
