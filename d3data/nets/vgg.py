"""VGG with eleven layers for small images.

Simonyan & Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015,
arXiv 1409.1556, table 1, column A; with norms and one linear layer in place of three, as Zhao,
Mopuri & Bilen 2021, arXiv 2006.05929, compare with.
"""

from torch import nn

from d3data.nets.network import Network, centered
from d3data.nets.norms import Norm, normalize

LEAST = 32  # px: five poolings leave one pixel; the field frames 28 px images in 32
STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))  # channels in multiples of the width


def vgg11(
    *, channels: int, size: int, classes: int, width: int = 64, norm: Norm = "instance"
) -> Network:
    """Five stages of 3x3 convolutions, each with 2x2 maximum pooling, then one linear layer.

    Args:
        channels: of the images.
        size: height and width of the images, in pixels; smaller than 32 they are centred in zeros.
        classes: width of the output.
        width: channels of the first convolution; the last ones have eight times as many.
        norm: of the convolutions; `instance` is the field's.

    Raises:
        TrainingError: the groups of the norm do not go into the channels.
    """
    layers = nn.Sequential(*centered(size, LEAST))
    before = channels
    for stage in STAGES:
        for multiple in stage:
            after = multiple * width
            layers += nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1), normalize(norm, after), nn.ReLU()
            )
            before = after
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    return Network(layers, nn.Linear(before * (max(size, LEAST) // 32) ** 2, classes))
