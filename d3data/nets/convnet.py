"""The ConvNet that papers on dataset distillation train.

Gidaris & Komodakis, "Dynamic few-shot visual learning without forgetting", 2018,
arXiv 1804.09458; as Zhao, Mopuri & Bilen, "Dataset condensation with gradient matching", 2021,
arXiv 2006.05929, made it the field's standard.
"""

from torch import nn

from d3data.errors import TrainingError
from d3data.nets.network import Network, centered
from d3data.nets.norms import Norm, normalize


def default_depth(size: int) -> int:
    """The usual number of blocks for `size` pixels: 2, 3 from 24, 4 from 48, 5 from 96 on.

    Examples:
        >>> [default_depth(size) for size in (8, 16, 28, 32, 64, 128, 224, 256)]
        [2, 2, 3, 3, 4, 5, 5, 5]
    """
    return max((depth for depth in range(3, 6) if size >> depth >= 3), default=2)


def convnet(
    *,
    channels: int,
    size: int,
    classes: int,
    width: int = 128,
    depth: int | None = None,
    norm: Norm = "instance",
) -> Network:
    """Blocks of 3x3 convolution, norm, ReLU and 2x2 average pooling, then one linear layer.

    `width` is that of every convolution, `depth` the number of blocks; by default the usual one
    for `size`. Images are zero-padded to a size that can be halved so often: 28 pixels to 32.

    Raises:
        TrainingError: so many blocks pool the images to nothing.
    """
    depth = default_depth(size) if depth is None else depth
    if depth < 1 or size >> depth < 1:
        raise TrainingError(
            f"a ConvNet of depth {depth} leaves nothing of {size} px images: "
            f"choose a depth from 1 to {size.bit_length() - 1}"
        )
    padded = -(-size >> depth) << depth  # a multiple of 2 ** depth
    blocks = nn.Sequential(*centered(size, padded))
    for block in range(depth):
        blocks += nn.Sequential(
            nn.Conv2d(width if block else channels, width, 3, padding=1),
            normalize(norm, width),
            nn.ReLU(),
            nn.AvgPool2d(2),
        )
    blocks.append(nn.Flatten())
    return Network(blocks, nn.Linear(width * (padded >> depth) ** 2, classes))
