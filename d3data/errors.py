"""Everything that d3data raises for its users.

    D3DataError
    ├── DataError            real images: a missing folder, a corrupt image, a class with too few
    ├── RecipeError          a recipe that is unknown, misspelt or impossible
    │   └── BudgetError      no decoder and priors fit into the budget
    ├── RunError             the folder of one distillation in progress
    │   ├── RunLockedError   another process works on this run
    │   ├── ForeignRunError  the folder belongs to another recipe
    │   └── JobError         a job failed in all its attempts
    ├── TrainingError        a loss that is not finite, a network that cannot take the images
    ├── ArtifactError        a distilled set that cannot be used
    │   ├── FormatError      its manifest or tensors are malformed
    │   ├── NewerFormatError it was written by a newer d3data
    │   └── IntegrityError   a file is missing or is not the one that was written
    ├── ExportError          a finite copy of a distilled set that cannot be written
    ├── HubError             the Hugging Face Hub, or its cache here, cannot give or take a set
    │   ├── NotPublishedError  there is no such repository, revision or file to be seen
    │   ├── NotCachedError   nothing may be asked of the Hub, and the cache lacks something
    │   ├── AccessError      a token is missing, wrong, or may not do this
    │   ├── UnreachableError the Hub did not answer, or only that it cannot now
    │   ├── ConflictError    somebody else was there first
    │   └── VersionTakenError  the version was published with other content
    ├── UnknownNameError     a name that stands for no data set
    ├── DeviceError          a device that is not there, or cannot do what is asked
    └── MissingPackageError  a package is not installed that this needs; also a ModuleNotFoundError

Each message says what is wrong, where, and what to do next.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

__all__ = [
    "AccessError",
    "ArtifactError",
    "BudgetError",
    "ConflictError",
    "D3DataError",
    "DataError",
    "DeviceError",
    "ExportError",
    "ForeignRunError",
    "FormatError",
    "HubError",
    "IntegrityError",
    "JobError",
    "MissingPackageError",
    "NewerFormatError",
    "NotCachedError",
    "NotPublishedError",
    "RecipeError",
    "RunError",
    "RunLockedError",
    "TrainingError",
    "UnknownNameError",
    "UnreachableError",
    "VersionTakenError",
]

T = TypeVar("T")


class D3DataError(Exception):
    """The root of all errors that d3data raises for its users."""


class DataError(D3DataError):
    """Real images that cannot be used: missing, corrupt, unlabelled, too few."""


class RecipeError(D3DataError):
    """A recipe that is unknown, misspelt or impossible."""


class BudgetError(RecipeError):
    """No decoder and priors fit into the budget."""


class RunError(D3DataError):
    """The folder of one distillation cannot be used or finished."""


class RunLockedError(RunError):
    """Another process is working on this run."""


class ForeignRunError(RunError):
    """The run folder belongs to another recipe."""


class JobError(RunError):
    """A job failed in all its attempts."""


class TrainingError(D3DataError):
    """Training cannot go on: a loss that is not finite, a network that cannot take the images."""


class ArtifactError(D3DataError):
    """A distilled set that cannot be used."""


class FormatError(ArtifactError):
    """A manifest or a part is malformed."""


class NewerFormatError(ArtifactError):
    """The artifact was written by a newer version of d3data."""


class IntegrityError(ArtifactError):
    """A file of the artifact is missing or is not the one that was written."""


class ExportError(D3DataError):
    """A finite copy of a distilled set that cannot be written."""


class HubError(D3DataError):
    """The Hugging Face Hub, or its cache on this machine, cannot give or take a set."""


class NotPublishedError(HubError):
    """There is no such repository, revision or file, as far as one may see."""


class NotCachedError(HubError):
    """Nothing may be asked of the Hub, and something is missing in the cache."""


class AccessError(HubError):
    """A token is missing or wrong, or may not do what was asked."""


class UnreachableError(HubError):
    """The Hub did not answer, or said that it cannot at the moment."""


class ConflictError(HubError):
    """Somebody else changed the repository, or took the name, in the meantime."""


class VersionTakenError(HubError):
    """The version was published before, with other content; versions never change."""


class UnknownNameError(D3DataError):
    """A name that stands for no data set, recipe or task."""


class DeviceError(D3DataError):
    """A device that this machine or process does not have."""


class MissingPackageError(D3DataError, ModuleNotFoundError):
    """A package is not installed that this needs, and loading does not."""


def nearest(word: str, known: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """A clause that names the nearest known words, or all that are `listed` where none is near.

    >>> nearest("fashion-mnits", ["digits", "fashion-mnist"])
    'did you mean fashion-mnist?'
    """
    known = sorted(known)
    if close := difflib.get_close_matches(word, known, n=3):
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(known if listed is None else sorted(listed))}"


def entry(
    table: Mapping[str, T], name: str, *, what: str, error: type[D3DataError] = RecipeError
) -> T:
    """The entry of a closed table, or `error` with the nearest names there are.

    >>> entry({"sgd": 1}, "sgd", what="optimizer")
    1
    """
    if name not in table:
        raise error(f"unknown {what} {name!r}: {nearest(name, table)}")
    return table[name]
