"""The network that the field trains on distilled data.

Gidaris & Komodakis, "Dynamic few-shot visual learning without forgetting", 2018,
arXiv 1804.09458; as Zhao, Mopuri & Bilen, "Dataset condensation with gradient matching", 2021,
arXiv 2006.05929, made it the field's standard.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from d3data.errors import TrainingError, UnknownNameError, nearest

Norm = Literal["none", "batch", "instance", "group", "layer"]

norms: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda width: nn.Identity(),
    "batch": nn.BatchNorm2d,
    # one group per channel is instance norm, at half its cost on a CPU
    "instance": lambda width: nn.GroupNorm(width, width),
    "group": lambda width: nn.GroupNorm(4, width),
    "layer": lambda width: nn.GroupNorm(1, width),
}


def default_depth(size: int) -> int:
    """How many blocks suit images of `size` pixels: 2, 3 from 24, 4 from 48, 5 from 96 on.

    >>> [default_depth(size) for size in (8, 16, 28, 32, 64, 128, 224, 256)]
    [2, 2, 3, 3, 4, 5, 5, 5]
    """
    return max((depth for depth in range(3, 6) if size >> depth >= 3), default=2)


class ConvNet(nn.Module):
    """Blocks of 3x3 convolution, norm, ReLU and 2x2 average pooling, then one linear layer.

    Args:
        channels: of the images.
        size: height and width of the images, in pixels.
        classes: width of the output.
        width: channels of every convolution.
        depth: number of blocks; None is the field's choice for `size`.
        norm: `instance` is the field's; `group` has four groups, `layer` one.

    Raises:
        TrainingError: so many blocks pool the images away.
        UnknownNameError: there is no such norm.
    """

    def __init__(
        self,
        *,
        channels: int,
        size: int,
        classes: int,
        width: int = 128,
        depth: int | None = None,
        norm: Norm = "instance",
    ) -> None:
        super().__init__()
        depth = default_depth(size) if depth is None else depth
        if norm not in norms:
            raise UnknownNameError(f"unknown norm {norm!r}: {nearest(norm, norms)}")
        if depth < 1 or size >> depth < 1:
            raise TrainingError(
                f"a ConvNet of depth {depth} leaves nothing of {size} px images: "
                f"choose a depth from 1 to {size.bit_length() - 1}"
            )
        self.blocks = nn.Sequential()
        for block in range(depth):
            self.blocks += nn.Sequential(
                nn.Conv2d(width if block else channels, width, 3, padding=1),
                norms[norm](width),
                nn.ReLU(),
                nn.AvgPool2d(2),
            )
        self.classifier = nn.Linear(width * (size >> depth) ** 2, classes)

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): the last map, flattened, as the classifier reads it."""
        features: Tensor = self.blocks(images).flatten(1)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K): one logit per class."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
