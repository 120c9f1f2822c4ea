"""Which classes of a task the files of D3's authors are of.

The checkpoints of D3's published code are numbered by
position in its own order of classes, block by block; for ImageNet at 64 pixels that is the order
of the downsampled ImageNet, which nobody else uses. File names (`imagebatch_0`) and soft labels
tell which block a file is.
"""

import re
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from d3data.convert.checkpoint import Checkpoint
from d3data.convert.provenance import Origin, wordnet_order
from d3data.errors import ArtifactError, DataError, entry
from d3data.utils.text import brief

Paths = Sequence[str | Path]
ClassOrder = Literal["wordnet", "downsampled"]

IMAGENET = "imagenet-64"
NUMBERED = re.compile(r"(?:imagebatch|imageten|imagenethalf|tinybatch)_(\d{1,6})(?!\d)")
GAIN = 0.01  # of the teacher's probability: more than chance gives


def published_order(real: Origin, class_order: ClassOrder | None) -> list[int]:
    """The id in the task of each class of the published code.

    Of ImageNet, class names that are WordNet ids tell the order of classes; `class_order` does
    where they do not.
    """
    published = wordnet_order()
    orders = {"wordnet": tuple(sorted(published)), "downsampled": published}
    chosen = None
    if class_order is not None:
        chosen = entry(orders, class_order, what="class order", error=ArtifactError)
    if real.task != IMAGENET:
        if chosen is not None:
            raise ArtifactError(
                f"--class-order (class_order=...) is for {IMAGENET} only: omit it for {real.task}"
            )
        return list(range(len(real.classes)))
    if len(real.classes) != len(published):
        raise DataError(
            f"{real.task} has {len(real.classes)} classes here, and the published checkpoints "
            f"have {len(published):,}: give the images of all of them (--data, data=...)"
        )
    named = real.classes if set(real.classes) == set(published) else None
    if named and chosen and named != chosen:
        raise DataError(
            "the class names are WordNet ids, in another order than --class-order "
            "(class_order=...): omit it, the names tell the order"
        )
    ids = named or chosen
    if ids is None:
        raise DataError(
            f"class names such as {brief(real.classes[0])} are not WordNet ids, so it is unknown "
            "which class of ImageNet is which: add --class-order wordnet (class_order=...) if "
            "class 0 is the tench, as in Hugging Face's imagenet-1k and wherever classes are "
            "sorted by WordNet id, or --class-order downsampled if it is the kit fox"
        )
    return [ids.index(wordnet) for wordnet in published]


def class_blocks(
    checkpoints: Sequence[Checkpoint],
    order: Sequence[int],
    blocks: Sequence[Sequence[int]] | None,
) -> list[list[int]]:
    """The ids of the task that the classes of each checkpoint have, in its own order.

    `order` has the id of each class of the published code, `blocks` the published numbers of each
    checkpoint's classes, consecutive unless given.
    """
    if blocks is None:
        blocks = _contiguous(checkpoints, len(order))
    if len(blocks) != len(checkpoints):
        raise ArtifactError(f"{len(blocks)} blocks of classes for {len(checkpoints)} checkpoints")
    if sorted(number for block in blocks for number in block) != list(range(len(order))):
        raise ArtifactError(
            f"the blocks must have each class number from 0 to {len(order) - 1} once"
        )
    for one, block in zip(checkpoints, blocks, strict=True):
        if not block or len(one.mean) % len(block):
            raise ArtifactError(
                f"{one.path} has {len(one.mean)} priors, not the same number for each of its "
                f"{len(block)} classes"
            )
    return [[order[number] for number in block] for block in blocks]


def require_order(checkpoints: Paths, soft_labels: Paths, *, ascending: bool) -> None:
    """Refuse files whose names number subtasks, and not in one order."""
    ours, theirs = _numbers(checkpoints), _numbers(soft_labels)
    if ascending and ours and any(after <= before for before, after in pairwise(ours)):
        raise ArtifactError(
            f"the checkpoints are numbered {ours} by their names: give each subtask once, in "
            "ascending order, since a checkpoint's position says which classes it is of"
        )
    if ours and theirs and ours != theirs:
        raise ArtifactError(
            f"the checkpoints are numbered {ours} by their names, the soft labels {theirs}: give "
            "both in the same order"
        )


def require_distinct(tensors: Sequence[Tensor], paths: Paths) -> None:
    """Refuse a subtask that is given twice, under whatever name."""
    for (one, first), (other, second) in combinations(zip(tensors, paths, strict=True), 2):
        if torch.equal(one, other):
            raise ArtifactError(
                f"{first} and {second} are the same: give the file of each subtask once"
            )


def require_own_classes(
    labels: Sequence[Tensor], blocks: Sequence[Sequence[int]], paths: Paths
) -> None:
    """Refuse two files whose soft labels fit each other's classes better than their own.

    `labels` are (N, K) probabilities of each subtask, `blocks` the classes of each. What a teacher
    gives to a block of classes in every image, whatever it shows, cancels.
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
            f"{paths[one]} and {paths[other]} seem to be exchanged: their soft labels put more "
            "probability on each other's classes than on their own; give them, and their "
            "checkpoints, in the order of their classes"
        )


def _contiguous(checkpoints: Sequence[Checkpoint], classes: int) -> list[range]:
    """Blocks of consecutive numbers, of as many classes as a checkpoint has priors for."""
    items = [len(one.mean) for one in checkpoints]
    each, rest = divmod(sum(items), classes)
    if rest or not each or any(count % each for count in items):
        raise ArtifactError(
            f"{len(checkpoints)} checkpoints with {items} priors do not give {classes} classes "
            "the same number each: give every subtask once, and the task that they are of"
        )
    blocks, first = [], 0
    for count in items:
        blocks.append(range(first, first + count // each))
        first += count // each
    return blocks


def _numbers(paths: Paths) -> list[int] | None:
    matches = [NUMBERED.search(Path(path).name) for path in paths]
    return [int(match[1]) for match in matches if match] if all(matches) else None
