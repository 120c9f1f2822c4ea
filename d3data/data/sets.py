"""What a verb takes: a loaded set, an artifact, a name, or a folder."""

from pathlib import Path
from typing import Any, TypeAlias

from d3data.artifact.artifact import Artifact
from d3data.data.dataset import DistilledDataset
from d3data.hub import resolve
from d3data.hub.local import LocalCopy

AnySet: TypeAlias = DistilledDataset[Any] | Artifact | str | Path


def as_artifact(dataset: AnySet) -> Artifact:
    """The artifact of a set, downloaded where it is not on this machine.

    Raises:
        UnknownNameError: there is no set of this name.
        HubError: the Hub or its cache cannot provide the set.
        ArtifactError: it cannot be read.
    """
    if isinstance(dataset, DistilledDataset):
        return dataset.artifact
    return dataset if isinstance(dataset, Artifact) else resolve.resolve(dataset).read()


def local_copy(dataset: AnySet, *, extras: bool = False) -> LocalCopy:
    """The folder of a set on this machine; errors are those of `as_artifact`."""
    if isinstance(dataset, str | Path):
        return resolve.resolve(dataset, extras=extras)
    return resolve.resolve(as_artifact(dataset).folder)
