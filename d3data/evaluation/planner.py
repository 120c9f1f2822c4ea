"""Plans of evaluations: everything is looked up and checked before anything is trained."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from d3data.data.sets import AnySet
from d3data.errors import TrainingError
from d3data.evaluation import adapters, protocols, validate
from d3data.evaluation import baselines as known_baselines
from d3data.evaluation import networks as known_networks
from d3data.evaluation.evaluation_plan import EvaluationPlan, scored_against
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import EvalSetup, Labels, TrainingData, TrainingLoop
from d3data.evaluation.report import SplitName
from d3data.executors.rays import Ray
from d3data.executors.slurm import Slurm
from d3data.images.augment import augmentation
from d3data.images.formats.layout import Role
from d3data.images.tasks import Task
from d3data.nets.compute import Compute, Precision
from d3data.utils.checks import whole
from d3data.utils.device import (
    as_device,
    useful_threads,
)
from d3data.utils.packages import naming_packages
from d3data.utils.renamed import renamed


@dataclass(frozen=True)
class EvaluationOptions:
    """How a set is evaluated: the keyword arguments of `d3data.evaluate`, which explains them."""

    data: str | Path | None = None
    columns: tuple[str, str] | None = None
    splits: Mapping[Role, str] | None = None
    white: float | None = None
    protocol: str | Protocol = "standard"
    nets: str | Iterable[str] | None = None
    networks: Mapping[str, known_networks.OwnNetwork] | None = None
    train: TrainingLoop | None = None
    labels: Iterable[Labels] | None = None
    seeds: Iterable[int] | None = None
    baselines: str | Iterable[str] = "fair"
    baseline_seeds: Iterable[int] | None = None
    scores: bool = False
    split: SplitName | None = "test"  # None: validation where there are no test images
    device: str | torch.device = "cpu"
    compile: bool = False
    precision: Precision | None = None
    resume: bool = True
    workers: int = 1
    executor: Ray | Slurm | None = None
    minutes: float | None = None

    @property
    def reading(self) -> dict[str, Any]:
        """How a place of images is read."""
        return {"columns": self.columns, "splits": self.splits, "white": self.white}


@renamed(data="dataset", data_path="data")
@naming_packages()
def plan(
    dataset: AnySet | TrainingData | Dataset[Any],
    task: Task | str | None = None,
    options: EvaluationOptions | None = None,
    **changes: Any,
) -> EvaluationPlan:
    """What `d3data.evaluate` will do.

    Args:
        dataset: as `evaluate` takes it.
        task: as `evaluate` takes it.
        options: how the set is evaluated.
        changes: fields of the options, as keyword arguments.

    Raises:
        D3DataError: as `evaluate`.
    """
    how = replace(options or EvaluationOptions(), **changes)
    protocol = _protocol_of(how)
    place = as_device(how.device)
    usual: Precision = "tf32" if place.type == "cuda" else "float32"  # as convolutions of torch
    compute = Compute(precision=how.precision or usual, compile=how.compile)
    trained, task = _data_and_task(dataset, task, how.data, how.reading)
    split = how.split or ("validation" if task.test is None else "test")
    tests = validate.tests(task, split)
    own_labels = None if protocol.labels == "own" else (protocol.labels,)
    sets = validate.labeled(trained, own_labels if how.labels is None else how.labels)
    if how.scores:
        sets = validate.scored(sets)
    specs = known_networks.wanted(how.nets, protocol.network)
    builds = known_networks.builders(specs, how.networks, task)
    features = known_networks.have_features(builds.values())
    chosen = known_baselines.wanted(how.baselines, trained, features=features)
    needed = (scored_against(sets[0]), "real") if how.scores else ()
    more = [name for name in needed if name not in chosen]
    chosen += known_baselines.wanted(more, trained, features=features)
    validate.require_choices(task, [] if how.train else protocol.learning_rates, chosen)
    if protocol.own_rate and not how.train:
        validate.own_rate(trained)
    seeds = validate.distinct(range(protocol.networks) if how.seeds is None else how.seeds)
    baseline_seeds = seeds if how.baseline_seeds is None else how.baseline_seeds
    workers = whole(how.workers, "workers", least=1)
    planned = EvaluationPlan(
        name=str(dataset) if isinstance(dataset, str | Path) else type(dataset).__name__,
        data=trained,
        setup=EvalSetup(task, tests, protocol, place, how.train, compute),
        split=split,
        sets=tuple(sets),
        baselines=tuple(chosen),
        builds=builds,
        seeds=seeds,
        baseline_seeds=validate.distinct(baseline_seeds, "baseline_seeds"),
        scores=how.scores,
        keep=how.resume and not how.networks and how.train is None,
        threads=useful_threads(task.rule.size, max(1, torch.get_num_threads() // workers)),
    )
    if how.minutes is None:
        return planned
    if not 0 < how.minutes < math.inf:
        raise TrainingError(f"minutes must be a number above 0, got {how.minutes:g}")
    return planned.within(how.minutes)


def _protocol_of(how: EvaluationOptions) -> Protocol:
    protocol = (
        protocols.get_protocol(how.protocol) if isinstance(how.protocol, str) else how.protocol
    )
    augmentation(protocol.augment)
    protocols.require_own_name(protocol)
    if how.nets is not None and how.networks is not None:
        raise TrainingError("nets and networks both say which networks to train: give one of them")
    if how.train is not None and (how.compile or how.precision):
        raise TrainingError(
            "a training loop of your own compiles, and casts, for itself: leave compile and "
            "precision out"
        )
    return protocol


def _data_and_task(
    dataset: Any, task: Task | str | None, data: str | Path | None, reading: Mapping[str, Any]
) -> tuple[TrainingData, Task]:
    if isinstance(task, str):
        if adapters.is_distilled(dataset):
            validate.require_known_fit(adapters.as_training_data(dataset, None), task)
        task = adapters.read_as_given(dataset, task, data, reading)
    trained = adapters.as_training_data(dataset, task, reading)
    task = validate.origin(trained, data, reading) if task is None else task
    validate.require_fit(trained, task, data)
    return trained, task
