"""VGG with eleven layers for small images.

Simonyan & Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015,
arXiv 1409.1556, table 1, column A; with norms and one linear layer instead of three, as Zhao,
Mopuri & Bilen 2021, arXiv 2006.05929, compare with.
"""

from torch import nn

from d3data.nets.network import Network, centered
from d3data.nets.norms import Norm, normalize

MIN_SIZE = 32  # px: five poolings leave one pixel; 28 px images are zero-padded to 32
STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))  # channels in multiples of the width


def vgg11(
    *, channels: int, size: int, classes: int, width: int = 64, norm: Norm = "instance"
) -> Network:
    """Five stages of 3x3 convolutions, each with 2x2 max pooling, then one linear layer.

    `width` is that of the first convolution; the last ones have eight times as many channels.
    """
    layers = nn.Sequential(*centered(size, MIN_SIZE))
    inputs = channels
    for stage in STAGES:
        for multiple in stage:
            outputs = multiple * width
            layers += nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1), normalize(norm, outputs), nn.ReLU()
            )
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    return Network(layers, nn.Linear(inputs * (max(size, MIN_SIZE) // 32) ** 2, classes))
