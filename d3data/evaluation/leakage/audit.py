"""Does a set copy the images that it was made from? Its nearest train and test images tell.

A set that copies nothing is as near to the train images as to equally many test images.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from d3data.artifact.artifact import Artifact
from d3data.data.dataset import DistilledDataset
from d3data.data.sets import AnySet
from d3data.errors import DataError, FormatError
from d3data.evaluation import adapters, networks, protocols, validate
from d3data.evaluation.evaluation_plan import provenance
from d3data.evaluation.leakage.distances import SetImages, features, pixels
from d3data.evaluation.leakage.record import Audit
from d3data.evaluation.leakage.search import RATE, REFERENCE, real_images, search
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import EvalSetup, TrainingData
from d3data.evaluation.runner import train_teacher
from d3data.images.formats.layout import Role
from d3data.images.tasks import Task
from d3data.utils import canonical_json
from d3data.utils.checks import whole
from d3data.utils.device import as_device, enough_memory, useful_threads, using_threads
from d3data.utils.packages import naming_packages
from d3data.utils.precision import full_precision
from d3data.utils.progress import ReportProgress, after_each_step, ignore
from d3data.utils.renamed import renamed

PATH = "audit.json"  # in an artifact
MOST_DRAWS = 4096


@renamed(data="dataset", data_path="data")
@naming_packages()
def audit(
    dataset: AnySet | TrainingData | Dataset[Any],
    task: Task | str | None = None,
    *,
    data: str | Path | None = None,
    columns: tuple[str, str] | None = None,
    splits: Mapping[Role, str] | None = None,
    white: float | None = None,
    draws: int = 64,
    protocol: str | Protocol = "quick",
    device: str | torch.device = "cpu",
    progress: ReportProgress = ignore,
    date: str | None = None,
    name: str | None = None,
) -> Audit:
    """Compare every item of a set with the train and the test images: is it nearer to train?

    An item is a suspect if the ratio of the two distances is lower for its mean than for 99 % of
    test images, each beside the others; or if that holds for its draws, by twice the median of
    their p-values. An item that is drawn like test images is one with a probability of at most
    0.01 for each.

    Args:
        dataset: a distilled set: loaded, an artifact, a name or a folder; or anything else that
            can be evaluated.
        task: the real images, or their name; without it, those that the set was made from.
        data: where these are, unless a preset knows.
        columns: the image and the label column, or members of shards, of images that are no
            distilled set, or else of `data`.
        splits: the name of each split there, or a pattern of them.
        white: the value that is white in images there of more than 8 bits.
        draws: how many of each prior are compared, besides its mean.
        protocol: how the network is trained whose features are compared.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        progress: called after every step of training, and after some comparisons.
        date: YYYY-MM-DD, for the record; today's.
        name: what the record calls a set that is no artifact.

    Raises:
        DataError: the set's values are whitened, it and the real images do not belong together,
            or there are no test images.
        ArtifactError: the set cannot be read, or makes values that are not finite.
        UnknownNameError: there is no such set.
        DeviceError: there is no such device.
    """
    settings = protocols.get_protocol(protocol) if isinstance(protocol, str) else protocol
    place, draws = as_device(device), whole(draws, "draws", least=1, most=MOST_DRAWS)
    name = str(dataset) if name is None and isinstance(dataset, str | Path) else name
    trained, task = opened(dataset, task, data, columns=columns, splits=splits, white=white)
    tests = validate.tests(task, "test")
    images, real = SetImages(trained, draws, device=place), real_images(task.train, tests)
    setup = EvalSetup(task, tests, settings, place)
    threads = useful_threads(task.size, torch.get_num_threads())
    with using_threads(threads), enough_memory("compare fewer draws, or on another device"):
        (build,) = networks.builders([settings.network], None, task).values()
        stage = "training the network whose features are compared"
        watch = after_each_step(progress, stage, settings.length(len(task.train)))
        network = train_teacher(build, setup, watch=watch)
        with torch.no_grad(), full_precision(place):
            spaces = (pixels(task, place), features(network, place))
            leakage = tuple(search(space, images, real, progress) for space in spaces)
    return Audit(
        items=images.items,
        draws=images.draws,
        train=len(task.train),
        test=len(tests),
        equal=len(real[0].equal),
        honest=min(REFERENCE, len(tests)),
        rate=2 * RATE if images.draws else RATE,
        spaces=leakage,
        **provenance(trained, setup, date, name=name or type(trained).__name__),
    )


def opened(
    dataset: AnySet | TrainingData | Dataset[Any],
    task: Task | str | None = None,
    data: str | Path | None = None,
    **reading: Any,
) -> tuple[TrainingData, Task]:
    """The set and the real images of an audit, which belong together; errors are `audit`'s."""
    if isinstance(task, str):
        task = adapters.read_as_given(dataset, task, data, reading)
    images = adapters.as_training_data(dataset, task, reading)
    if isinstance(images, DistilledDataset) and images.image.whitening is not None:
        raise DataError(
            f"the values of {images.artifact.manifest.about.name} are whitened, and the whitening "
            "matrix is not stored with them: they cannot be compared with real images"
        )
    task = validate.origin(images, data, reading) if task is None else task
    if task.test is None or len(task.test) < 2:
        raise DataError(
            f"{task.name} has no test images, and an audit compares distances to train images "
            "with distances to test images: add a test split"
        )
    validate.require_fit(images, task)
    return images, task


def stored_audit(artifact: Artifact) -> Audit | None:
    """The audit that an artifact lists, if any; of a set on the Hub, if it was fetched too.

    Raises:
        ArtifactError: it is not the file that was written, or no audit.
    """
    listed = {entry.path for entry in artifact.manifest.files}
    if PATH not in listed or PATH not in (artifact.links or listed):
        return None
    where = str(artifact.folder / PATH)
    record = canonical_json.decode(artifact.file(PATH), where=where)
    return Audit.parse(record, where=where, error=FormatError)
