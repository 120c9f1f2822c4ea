"""What one trial leaves: an immutable record."""

from typing import Literal

from d3data.utils.schema import Frozen

Labels = Literal["hard", "soft"]

MOST_CONFUSED = 100  # classes up to which a trial records which is taken for which


class Point(Frozen):
    """A point of a learning curve.

    Attributes:
        step: how many steps the optimizer has taken.
        seconds: of training so far.
        loss: of the last step.
        accuracy: on at most 1,000 validation images, which nothing is chosen by.
    """

    step: int
    seconds: float
    loss: float
    accuracy: float


class Trial(Frozen):
    """What came of one network.

    Attributes:
        seed: of its first weights, the order of its images and their augmentation.
        learning_rate: at the start of training; None where that was the user's own.
        accuracy: the share of test images that it classifies rightly, after the last step.
        per_class: the same for each class; None for one without test images.
        confusion: (K, K) counts of test images, rows by their class, columns by the answer; None
            where K is above 100.
        loss: the training loss of the last step; likewise.
        steps: that its optimizer took; 0 where the training was the user's own.
        images: draws that it was trained on, repeats counted.
        flops: floating-point operations of its training: decoding, forward and backward; None
            where the network's cannot be counted.
        memory: the most bytes of a CUDA device that training took beyond what there was before;
            None elsewhere.
        seconds: that training took.
        curve: how it went.
    """

    seed: int
    learning_rate: float | None
    accuracy: float
    per_class: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    loss: float | None
    steps: int
    images: int
    flops: int | None
    memory: int | None
    seconds: float
    curve: tuple[Point, ...]
