"""Which classes of a task the checkpoints of D3's published code are of.

Its numbers are positions in its own order of classes, block by block. For ImageNet at 64 pixels
that is the order of the downsampled ImageNet, which is nobody else's.
"""

from collections.abc import Sequence
from typing import Literal

from d3data.convert.checkpoint import Checkpoint
from d3data.convert.provenance import Origin, wordnet_order
from d3data.errors import ArtifactError, DataError, entry
from d3data.utils.text import brief

TASK = "imagenet-64"
ClassOrder = Literal["wordnet", "downsampled"]


def published_order(real: Origin, class_order: ClassOrder | None) -> list[int]:
    """The id in the task of each class of the published code.

    Args:
        real: the task; of ImageNet, class names that are WordNet ids tell their order.
        class_order: the order of ImageNet's classes where their names do not tell: by WordNet id,
            or as the downsampled ImageNet has them.

    Raises:
        DataError: it is not known which classes the task's are, or they are not 1,000.
        ArtifactError: `class_order` is unknown, or the task is not ImageNet.
    """
    if real.task != TASK:
        if class_order is not None:
            raise ArtifactError(f"a class order is of {TASK}: leave it out for {real.task}")
        return list(range(len(real.classes)))
    theirs = wordnet_order()
    orders = {"wordnet": tuple(sorted(theirs)), "downsampled": theirs}
    said = None
    if class_order is not None:
        said = entry(orders, class_order, what="class order", error=ArtifactError)
    ids = {wordnet: number for number, wordnet in enumerate(_wordnet_ids(real, said))}
    return [ids[wordnet] for wordnet in theirs]


def blocks_of(
    found: Sequence[Checkpoint], order: Sequence[int], blocks: Sequence[Sequence[int]] | None
) -> list[list[int]]:
    """The ids of the task that the classes of each checkpoint have, in its own order.

    Args:
        found: the checkpoints.
        order: the id in the task of each class of the published code.
        blocks: the published numbers of each checkpoint's classes; consecutive unless given.

    Raises:
        ArtifactError: priors and classes do not go together, or a class is missing or repeated.
    """
    if blocks is None:
        blocks = _contiguous(found, len(order))
    if len(blocks) != len(found):
        raise ArtifactError(f"{len(blocks)} blocks of classes for {len(found)} checkpoints")
    listed = [number for block in blocks for number in block]
    if sorted(listed) != list(range(len(order))):
        raise ArtifactError(
            f"the blocks must hold each class number from 0 to {len(order) - 1} once"
        )
    for one, block in zip(found, blocks, strict=True):
        if not block or len(one.mean) % len(block):
            raise ArtifactError(
                f"{one.path} has {len(one.mean)} priors, which {len(block)} classes cannot share"
            )
    return [[order[number] for number in block] for block in blocks]


def _wordnet_ids(real: Origin, said: Sequence[str] | None) -> Sequence[str]:
    """The WordNet id of each class of ImageNet, by the task's numbers."""
    known = wordnet_order()
    if len(real.classes) != len(known):
        raise DataError(
            f"{real.task} has {len(real.classes)} classes here, where the published checkpoints "
            f"are of {len(known):,}: give the images of all of them (--data, data=...)"
        )
    if set(real.classes) != set(known):
        if said is not None:
            return said
        raise DataError(
            f"class names such as {brief(real.classes[0])} are no WordNet ids, and do not tell "
            "which classes of ImageNet they are: say --class-order wordnet (class_order=...) if "
            "class 0 is the tench, as in Hugging Face's imagenet-1k and wherever classes are "
            "sorted by WordNet id, or downsampled if it is the kit fox"
        )
    if said is not None and tuple(said) != tuple(real.classes):
        raise DataError(
            "the class names are WordNet ids in another order than --class-order (class_order=...)"
            " says: leave it out, names tell"
        )
    return real.classes


def _contiguous(found: Sequence[Checkpoint], classes: int) -> list[range]:
    """Blocks of consecutive numbers, of as many classes as a checkpoint has priors for."""
    items = [len(one.mean) for one in found]
    each, rest = divmod(sum(items), classes)
    if rest or not each or any(count % each for count in items):
        raise ArtifactError(
            f"{len(found)} checkpoints with {items} priors do not make {classes} classes with "
            "equally many: give every subtask once, and the task that they are of"
        )
    blocks, first = [], 0
    for count in items:
        blocks.append(range(first, first + count // each))
        first += count // each
    return blocks
