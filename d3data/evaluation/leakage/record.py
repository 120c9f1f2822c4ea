"""The record of an audit, as JSON, and sentences that say what it means.

Legend: N items, n draws of each.
"""

from typing import Literal, TypeVar

from torch import Tensor

from d3data.evaluation.protocols import Protocol
from d3data.utils.schema import Frozen
from d3data.utils.text import some

ROUNDING = 1e-6  # a distance below which images are the same, but for rounding
NAMED = 10  # suspects that a sentence names

Distance = TypeVar("Distance", float, Tensor)


def ratio(train: Distance, test: Distance) -> Distance:
    """The distance to the nearest train image divided by that to the nearest test image.

    >>> ratio(0.0, 0.0), round(ratio(0.1, 0.2), 3)
    (1.0, 0.5)
    """
    return (train + ROUNDING) / (test + ROUNDING)


class Pair(Frozen):
    """An image of the set, and the rows of the train and the test image that it is nearest to.

    Distances are roots of mean square differences.
    """

    item: int  # numbered as `mean_images` does
    draw: int  # counted from 1; 0 is the item's mean
    train: int
    train_distance: float
    test: int
    test_distance: float

    @property
    def ratio(self) -> float:
        """Of the two distances; nearly 0 for a copy of a train image."""
        return ratio(self.train_distance, self.test_distance)


class Attack(Frozen):
    """How well distances tell images that a set was made from ("members") from others.

    The AUC is how often a member is nearer to the set than another image, ties counted as half;
    0.5 where distances tell nothing. From `low` to `high` is its interval of 95 %.
    """

    auc: float
    low: float
    high: float


class Leakage(Frozen):
    """What one space shows; real images of train and test are compared in equal numbers.

    Attributes:
        space: `pixels`, or `features` of a network that was trained on all train images.
        dimensions: of it.
        median_ratio: of all images of the set: the distance to the nearest train image divided by
            that to the nearest test image.
        share_nearer: the share of them that are nearer to train.
        attack: how well distances to the set tell train from test images.
        suspects: the items that are nearer to a train image than chance explains.
        closest: the images with the lowest ratios to all train and test images, one of an item.
        means: of every item's mean, to all real images; empty in a brief record.
        draws: of the draw of every item that has the lowest ratio; empty where there are none.
    """

    space: Literal["pixels", "features"]
    dimensions: int
    median_ratio: float
    share_nearer: float
    attack: Attack
    suspects: tuple[int, ...]
    closest: tuple[Pair, ...]
    means: tuple[Pair, ...] = ()
    draws: tuple[Pair, ...] = ()


class Audit(Frozen):
    """How near the images of a set come to the real ones that it was made from.

    Attributes:
        format: of this record.
        data: the set's name.
        content_sha256: identifies what was audited; None for a set that is no artifact.
        task: the name of the real images.
        fingerprint: identifies them, their rule and their split.
        items: N.
        draws: n; 0 where items are images.
        train: how many train images it was compared with.
        test: how many test images.
        equal: how many of each, where their numbers must be equal; drawn at random.
        honest: how many test images show what chance does, the reference of the p-values.
        rate: the share of harmless items that are suspected at most.
        protocol: how the network was trained.
        spaces: what each shows.
        device: what computed it.
        versions: of python, torch and d3data.
        date: YYYY-MM-DD.
    """

    format: Literal[1] = 1
    data: str
    content_sha256: str | None
    task: str
    fingerprint: str
    items: int
    draws: int
    train: int
    test: int
    equal: int
    honest: int
    rate: float
    protocol: Protocol
    spaces: tuple[Leakage, ...]
    device: str
    versions: dict[str, str]
    date: str

    def brief(self) -> "Audit":
        """The same without the table of all items."""
        spaces = [one.model_copy(update={"means": (), "draws": ()}) for one in self.spaces]
        return self.model_copy(update={"spaces": tuple(spaces)})

    def sentences(self) -> list[str]:
        """What was found, and what it does not say."""
        each = f" and {self.draws:,} draws of each" if self.draws else ""
        kind = "priors' means" if self.draws else "images"
        return [
            f"Its {self.items:,} {kind}{each} were compared with {self.train:,} train and "
            f"{self.test:,} test images of {self.task} on {self.date}: by their pixels, and by "
            f"the features of a network that was trained on all train images (protocol "
            f"{self.protocol.name} v{self.protocol.version}).",
            *map(self._sentence, self.spaces),
            "This finds images that are copied, whole and in place. It does not find parts, "
            "mirror images or what only a stronger attack would, and is no proof of privacy.",
        ]

    def _sentence(self, space: Leakage) -> str:
        auc = space.attack
        return (
            f"By {space.space}, {100 * space.share_nearer:.0f} % of its images are nearer to one "
            f"of {self.equal:,} train images than to one of as many test images (50 % is "
            "expected if nothing leaks, but images that are alike go together; median ratio of "
            f"the distances {space.median_ratio:.3f}). An attack that takes the real images "
            "nearest to it for those that it was made from has an AUC of "
            f"{auc.auc:.3f} (95 %: {auc.low:.3f} to {auc.high:.3f}; 0.5 is guessing). "
            f"{self._suspects(space.suspects)}"
        )

    def _suspects(self, items: tuple[int, ...]) -> str:
        if (1 + self.honest) * self.rate < 1:
            return "There are too few test images to say which items are copies."
        if not items:
            return f"None of {self.items:,} items is suspiciously near to a train image."
        return (
            f"{len(items):,} of {self.items:,} items are suspiciously near to a train image, and "
            f"by chance at most {self.rate * self.items:.2g} would be expected: "
            f"{some(map(str, items), at_most=NAMED)}."
        )
