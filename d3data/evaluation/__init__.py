"""What networks reach that are trained on a distilled set, beside real images of the same size.

Nothing is chosen on the images that a network is tested on: a protocol fixes all settings, and
each network is tested once, after its last step.
"""

import datetime
import platform
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from d3data import __version__, training
from d3data.dataset import DistilledDataset
from d3data.evaluation import baselines as real
from d3data.evaluation import checks, protocols
from d3data.evaluation.bench import Bench, Progress, ignore
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.report import Report, Row, SplitName
from d3data.evaluation.trials import Draws, Trial
from d3data.loading import load
from d3data.tasks import Task

__all__ = ["Bench", "Draws", "Progress", "Protocol", "Report", "Row", "Trial", "evaluate"]


def evaluate(
    data: Draws | str | Path,
    task: Task | None = None,
    *,
    data_path: str | Path | None = None,
    protocol: str | Protocol = "standard",
    seeds: Iterable[int] | None = None,
    baselines: Iterable[str] = ("random",),
    split: SplitName = "test",
    device: str = "cpu",
    date: str | None = None,
    progress: Callable[[Progress], None] = ignore,
) -> Report:
    """Train networks on `data` and on real images that take as much room; test them on real ones.

    Args:
        data: a distilled set, its name or folder; or anything else that has `len` and `batch`.
        task: the real images; without it, those that the set was made from.
        data_path: where these are, unless a preset knows.
        protocol: a name of `d3data.evaluation.protocols`, or one's own.
        seeds: one for each network; without them 0, 1, ... for as many as the protocol has.
        baselines: names of `d3data.evaluation.baselines`; each is trained on in the same way.
        split: what networks are tested on: `validation` for whoever compares settings.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        date: YYYY-MM-DD, for the report; today's.
        progress: called after every step.

    Raises:
        DataError: the set and the real images do not belong together, or there is no such split.
        ArtifactError: the set cannot be read, or makes values that are not finite.
        TrainingError: a loss is not finite.
        RecipeError: there is no such protocol or baseline.
        DeviceError: there is no such device.
    """
    settings = protocols.named(protocol) if isinstance(protocol, str) else protocol
    chosen = {name: real.named(name) for name in baselines}
    place = training.device(device)
    draws = load(data) if isinstance(data, str | Path) else data
    task = checks.origin(draws, data_path) if task is None else task
    tests = checks.tests(task, split)
    checks.require_fit(draws, task)
    bench = Bench(
        task=task,
        tests=tests,
        protocol=settings,
        seeds=checks.distinct(range(settings.networks) if seeds is None else seeds),
        device=place,
        progress=progress,
    )
    threads = training.threads(task.rule.size, torch.get_num_threads())
    with training.using_threads(threads):
        first = bench.distilled(draws)
        per_class = real.per_class(draws, task, values=first.values)
        others = [bench.real(name, choose, per_class) for name, choose in chosen.items()]
    page = draws.artifact.manifest if isinstance(draws, DistilledDataset) else None
    return Report(
        data=f"{page.about.name} {page.about.version}" if page else type(draws).__name__,
        content_sha256=page.content_sha256 if page else None,
        task=task.name,
        fingerprint=task.fingerprint,
        split=split,
        tests=len(tests),
        classes=task.classes,
        protocol=settings,
        rows=(first, *others),
        device=torch.cuda.get_device_name(place) if place.type == "cuda" else str(place),
        threads=threads,
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "d3data": __version__,
        },
        date=date or datetime.date.today().isoformat(),
    )
