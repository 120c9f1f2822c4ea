"""Which classes of a task the checkpoints of D3's published code are of.

Its numbers are positions in its own order of classes, block by block. For ImageNet at 64 pixels
that is the order of the downsampled ImageNet, which is nobody else's.
"""

from collections.abc import Sequence

from d3data.converting.checkpoint import Checkpoint
from d3data.converting.origin import Origin, wordnet_order
from d3data.errors import ArtifactError


def blocks_of(
    found: Sequence[Checkpoint], real: Origin, blocks: Sequence[Sequence[int]] | None
) -> list[list[int]]:
    """The ids of the task that the classes of each checkpoint have, in its own order.

    Raises:
        ArtifactError: priors and classes do not go together, or a class is missing or repeated.
    """
    if blocks is None:
        blocks = _contiguous(found, len(real.classes))
    if len(blocks) != len(found):
        raise ArtifactError(f"{len(blocks)} blocks of classes for {len(found)} checkpoints")
    listed = [number for block in blocks for number in block]
    if sorted(listed) != list(range(len(real.classes))):
        raise ArtifactError(
            f"the blocks must hold each class number from 0 to {len(real.classes) - 1} once"
        )
    for one, block in zip(found, blocks, strict=True):
        if not block or len(one.mean) % len(block):
            raise ArtifactError(
                f"{one.path} has {len(one.mean)} priors, which {len(block)} classes cannot share"
            )
    order = published_order(real)
    return [[order[number] for number in block] for block in blocks]


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


def published_order(real: Origin) -> list[int]:
    """The id in the task of each class of the published code."""
    if real.task != "imagenet-64":
        return list(range(len(real.classes)))
    theirs = wordnet_order()
    ours = real.classes if set(real.classes) == set(theirs) else sorted(theirs)
    ids = {wordnet: number for number, wordnet in enumerate(ours)}
    return [ids[wordnet] for wordnet in theirs]
