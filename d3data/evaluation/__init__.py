"""What networks reach that are trained on a distilled set, beside real images of the same size.

Nothing is chosen on the images that a network is tested on: a protocol fixes all settings, and
each network is tested once, after its last step.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from d3data.evaluation.comparison import Comparison, Difference, compare
from d3data.evaluation.estimate import Estimate
from d3data.evaluation.leakage.audit import audit
from d3data.evaluation.leakage.picture import pairs
from d3data.evaluation.leakage.record import Audit, Leakage
from d3data.evaluation.planner import Plan, plan
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import Labels, Point, Trial
from d3data.evaluation.report import Report, SplitName
from d3data.evaluation.rows import Row
from d3data.evaluation.runner import Bench, Progress, ignore
from d3data.evaluation.scores import Scores
from d3data.evaluation.setup import Draws, Train
from d3data.images.tasks import Task

__all__ = [
    "Audit",
    "Bench",
    "Comparison",
    "Difference",
    "Draws",
    "Estimate",
    "Leakage",
    "Plan",
    "Point",
    "Progress",
    "Protocol",
    "Report",
    "Row",
    "Scores",
    "Train",
    "Trial",
    "audit",
    "compare",
    "evaluate",
    "pairs",
    "plan",
]


def evaluate(
    data: Draws | Dataset[Any] | str | Path,
    task: Task | str | None = None,
    *,
    data_path: str | Path | None = None,
    protocol: str | Protocol = "standard",
    nets: str | Iterable[str] | None = None,
    networks: Mapping[str, Callable[..., nn.Module]] | None = None,
    train: Train | None = None,
    labels: Iterable[Labels] | None = None,
    seeds: Iterable[int] | None = None,
    baselines: str | Iterable[str] = ("random",),
    baseline_seeds: Iterable[int] | None = None,
    scores: bool = False,
    split: SplitName = "test",
    device: str = "cpu",
    compile: bool = False,
    date: str | None = None,
    resume: bool = True,
    progress: Callable[[Progress], None] = ignore,
) -> Report:
    """Train networks on `data` and on its rivals; test each once on real images.

    A report that is stopped is finished by the same call, which finds the trials that are done
    and the last minute of the one that was not.

    Args:
        data: a distilled set, its name or folder; or anything else: a folder of images, `hf:...`,
            a map-style data set of images and labels, what has `len` and `batch`.
        task: the real images, or their name; without it, those that the set was made from.
        data_path: where these are, unless a preset knows.
        protocol: a name of `d3data.evaluation.protocols`, or one's own.
        nets: names of networks, such as `resnet18` or `resnet18/batch`, or "all" for a table of
            how the set transfers; the protocol's unless given.
        networks: the user's own, by name: each is called with `channels`, `size` and `classes`.
        train: the user's own training loop, in place of the protocol's.
        labels: "hard", "soft" or both, where the set has both; its own unless given.
        seeds: one for each network; without them 0, 1, ... for as many as the protocol has.
        baselines: names of `d3data.evaluation.baselines`; "all" that are possible, or "none".
        baseline_seeds: the same for each baseline; those of the set unless given.
        scores: also what DD-Ranking asks for: the set with hard labels, random images with labels
            of its own kind, all real images, and all of it once more without augmentation.
        split: what networks are tested on: `validation` for whoever compares settings.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        compile: train through torch.compile: faster; on a CPU it takes a C++ compiler.
        date: YYYY-MM-DD, for the report; today's.
        resume: keep trials in the user's cache until the report is whole.
        progress: called after every step.

    Raises:
        DataError: the set and the real images do not belong together, or there is no such split.
        ArtifactError: the set cannot be read, or makes values that are not finite.
        TrainingError: a loss is not finite, or a network cannot take the images.
        RecipeError: there is no such protocol or baseline.
        UnknownNameError: there is no such set or network.
        DeviceError: there is no such device, or it cannot compile.
        RunError: what is kept in the cache cannot be written.
    """
    planned = plan(
        data,
        task,
        data_path=data_path,
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
        resume=resume,
    )
    report = planned.run(progress=progress, date=date)
    planned.clear()
    return report
