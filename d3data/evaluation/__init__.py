"""What networks reach that are trained on a distilled set, beside real images of the same size.

Nothing is chosen on the images that a network is tested on: a protocol fixes all settings, and
each network is tested once, after its last step.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from d3data.data.sets import AnySet
from d3data.evaluation.baselines import get_baseline, list_baselines
from d3data.evaluation.comparison import Comparison, Difference, compare
from d3data.evaluation.estimate import Estimate
from d3data.evaluation.evaluation_plan import EvaluationPlan
from d3data.evaluation.leakage.audit import audit
from d3data.evaluation.leakage.picture import pairs
from d3data.evaluation.leakage.record import Audit, Leakage
from d3data.evaluation.planner import EvaluationOptions, plan
from d3data.evaluation.protocols import Protocol, get_protocol, list_protocols
from d3data.evaluation.record import Labels, Point, Row, TrainingData, TrainingLoop, Trial
from d3data.evaluation.report import Report, SplitName
from d3data.evaluation.runner import Runner
from d3data.evaluation.scores import Scores
from d3data.evaluation.shares import deal
from d3data.executors.rays import Ray
from d3data.executors.slurm import Slurm
from d3data.images.formats.layout import Role
from d3data.images.tasks import Task
from d3data.nets.compute import Precision
from d3data.utils.packages import naming_packages
from d3data.utils.progress import Progress, ReportProgress, ignore
from d3data.utils.renamed import renamed

__all__ = [
    "Audit",
    "Comparison",
    "Difference",
    "Estimate",
    "EvaluationOptions",
    "EvaluationPlan",
    "Leakage",
    "Point",
    "Progress",
    "Protocol",
    "Report",
    "Row",
    "Runner",
    "Scores",
    "TrainingData",
    "TrainingLoop",
    "Trial",
    "audit",
    "compare",
    "evaluate",
    "get_baseline",
    "get_protocol",
    "list_baselines",
    "list_protocols",
    "pairs",
    "plan",
]


@renamed(data="dataset", data_path="data")
@naming_packages()
def evaluate(
    dataset: AnySet | TrainingData | Dataset[Any],
    task: Task | str | None = None,
    *,
    data: str | Path | None = None,
    columns: tuple[str, str] | None = None,
    splits: Mapping[Role, str] | None = None,
    white: float | None = None,
    protocol: str | Protocol = "standard",
    nets: str | Iterable[str] | None = None,
    networks: Mapping[str, Callable[..., nn.Module]] | None = None,
    train: TrainingLoop | None = None,
    labels: Iterable[Labels] | None = None,
    seeds: Iterable[int] | None = None,
    baselines: str | Iterable[str] = "fair",
    baseline_seeds: Iterable[int] | None = None,
    scores: bool = False,
    split: SplitName | None = "test",
    device: str | torch.device = "cpu",
    compile: bool = False,
    precision: Precision | None = None,
    workers: int = 1,
    executor: Ray | Slurm | None = None,
    minutes: float | None = None,
    date: str | None = None,
    resume: bool = True,
    progress: ReportProgress = ignore,
) -> Report:
    """Train networks on a set and on its baselines; test each once on real images.

    An evaluation that is stopped is finished by the same call, which finds the trials that are
    done, and all but the last minute of the current one.

    Args:
        dataset: a distilled set: loaded, an artifact, a name or a folder; or anything else: a
            folder of images, `hf:...`, a map-style data set of images and labels, what has `len`
            and `batch`.
        task: the real images, their name, or a recipe, `x.toml`, whose `[task]` says what they
            are; without it, those that the set was made from.
        data: where the real images are; needed where no preset downloads them.
        columns: the image and the label column, or members of shards, of images that are no
            distilled set, or else of `data`.
        splits: the name of each split there, or a pattern of them.
        white: the value that is white in images there of more than 8 bits.
        protocol: a name of `d3data.evaluation.protocols`, or your own.
        nets: names of networks, such as `resnet18` or `resnet18/batch`, or "all" for a table of
            how the set transfers; the protocol's unless given.
        networks: your own, by name: each is called with `channels`, `size` and `classes`.
        train: your own training loop, in place of the protocol's.
        labels: "hard", "soft" or both, where the set has both; its own unless given.
        seeds: one for each network; without them 0, 1, ... for as many as the protocol has.
        baselines: names of `d3data.evaluation.baselines`; "all" that are possible, "none", or
            "fair": random and compressed real images of as many bytes.
        baseline_seeds: the same for each baseline; those of the set unless given.
        scores: also DD-Ranking's scores, which need the set with hard labels, random images with
            labels of its own kind, all real images, and all of it once more without augmentation.
        split: what networks are tested on: "validation" to compare settings; None is "test",
            or "validation" where there are no test images.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        compile: train through torch.compile: faster; on a CPU it needs a C++ compiler.
        precision: of convolutions and matrix products in training: float32, tf32 or bfloat16;
            None is what torch does: tf32 on CUDA, float32 elsewhere. Tests are in float32.
        workers: processes that train networks, dealt out to the GPUs that there are; a set and a
            task are then given by name.
        executor: has the networks of each seed trained on a cluster, whose nodes compute like this
            machine and find the set and the images by the same names.
        minutes: train fewer networks, then for fewer steps, to be done in about so many here.
        date: YYYY-MM-DD, for the report; today's.
        resume: keep trials in the user's cache until the report is finished.
        progress: called after every step.

    Raises:
        DataError: the set and the real images do not belong together, or there is no such split.
        ArtifactError: the set cannot be read, or makes values that are not finite.
        TrainingError: a loss is not finite, or a network cannot take the images.
        RecipeError: there is no such protocol or baseline.
        UnknownNameError: there is no such set or network.
        DeviceError: there is no such device, or it cannot compile.
    """
    options = EvaluationOptions(
        data=data,
        columns=columns,
        splits=splits,
        white=white,
        protocol=protocol,
        nets=nets,
        networks=networks,
        train=train,
        labels=labels,
        seeds=seeds,
        baselines=baselines,
        baseline_seeds=baseline_seeds,
        scores=scores,
        split=split,
        device=device,
        compile=compile,
        precision=precision,
        resume=resume,
        workers=workers,
        executor=executor,
        minutes=minutes,
    )
    evaluation = plan(dataset, task, options)
    deal(dataset, task, options, evaluation, progress)
    report = evaluation.run(progress=progress, date=date)
    evaluation.clear()
    return report
