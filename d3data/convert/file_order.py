"""Whether checkpoints, and their soft labels, come in the order of their classes.

The published names count the subtasks: `imagebatch_0`, `imagenethalf_1`. Soft labels tell more: a
teacher finds the classes of a subtask in its images rather than those of another.
"""

import re
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

import torch
from torch import Tensor

from d3data.errors import ArtifactError

Paths = Sequence[str | Path]

NUMBERED = re.compile(r"(?:imagebatch|imageten|imagenethalf|tinybatch)_(\d{1,6})(?!\d)")
GAIN = 0.01  # of the teacher's probability, which chance hardly gives


def require_ascending(paths: Paths) -> None:
    """Refuse files whose names count subtasks, and not upwards.

    Raises:
        ArtifactError: they do not.
    """
    numbers = _numbers(paths)
    if numbers and any(after <= before for before, after in pairwise(numbers)):
        raise ArtifactError(
            f"by their names these are the subtasks {numbers}: give them in ascending order, each "
            "once, since their place says which classes they are of"
        )


def require_same_numbers(checkpoints: Paths, soft_labels: Paths) -> None:
    """Refuse soft labels whose names count other subtasks than those of the checkpoints.

    Raises:
        ArtifactError: they do.
    """
    ours, theirs = _numbers(checkpoints), _numbers(soft_labels)
    if ours and theirs and ours != theirs:
        raise ArtifactError(
            f"by their names the checkpoints are the subtasks {ours}, the soft labels {theirs}: "
            "give both in the same order"
        )


def require_distinct(tensors: Sequence[Tensor], paths: Paths) -> None:
    """Refuse a subtask that comes twice, whatever its file is called.

    Raises:
        ArtifactError: two files hold the same values.
    """
    for (one, first), (other, second) in combinations(zip(tensors, paths, strict=True), 2):
        if torch.equal(one, other):
            raise ArtifactError(
                f"{first} comes twice, {second} holds the same: give the file of each subtask once"
            )


def require_own_classes(
    labels: Sequence[Tensor], blocks: Sequence[Sequence[int]], paths: Paths
) -> None:
    """Refuse two files whose soft labels would rather have each other's classes.

    What a teacher gives to a block of classes in every image, whatever it shows, cancels.

    Args:
        labels: (N, K) probabilities of each subtask.
        blocks: the classes of each.
        paths: the files, for the message.

    Raises:
        ArtifactError: exchanged, they would have more of their probability on their own classes.
    """
    mass = torch.tensor(
        [[float(rows[:, list(ids)].sum(1).mean()) for ids in blocks] for rows in labels],
        dtype=torch.float64,
    )
    own = mass.diagonal()
    gain = mass + mass.T - own - own[:, None]
    if gain.max() > GAIN:
        one, other = divmod(int(gain.argmax()), len(blocks))
        raise ArtifactError(
            f"{paths[one]} and {paths[other]} look exchanged: their soft labels find each other's "
            "classes in their images rather than their own; give these files, and their "
            "checkpoints, in the order of their classes"
        )


def _numbers(paths: Paths) -> list[int] | None:
    """The subtasks that names count, or None where a name does not."""
    found = [NUMBERED.search(Path(path).name) for path in paths]
    return [int(match[1]) for match in found if match] if all(found) else None
