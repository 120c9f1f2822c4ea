"""AlexNet for small images, as Zhao, Mopuri & Bilen 2021, arXiv 2006.05929, compare with.

Krizhevsky, Sutskever & Hinton, "ImageNet classification with deep convolutional neural networks",
2012; here without strides in the first convolution and with one linear layer instead of three.
"""

from torch import nn

from d3data.nets.network import Network, centered
from d3data.nets.norms import Norm, normalize

MIN_SIZE = 32  # px: 28 px images are zero-padded to 32


def alexnet(
    *, channels: int, size: int, classes: int, width: int = 128, norm: Norm = "none"
) -> Network:
    """Five convolutions, three of them with 2x2 max pooling, then one linear layer.

    `width` is that of the first convolution; the others have 3/2, 2, 3/2 and 3/2 of it.
    """
    layers = nn.Sequential(*centered(size, MIN_SIZE))
    half, inputs = width // 2, channels
    # each convolution: its channels, its kernel, whether pooling follows
    for outputs, kernel, pooled in (
        (2 * half, 5, True),
        (3 * half, 5, True),
        (4 * half, 3, False),
        (3 * half, 3, False),
        (3 * half, 3, True),
    ):
        layers += nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2),
            normalize(norm, outputs),
            nn.ReLU(),
        )
        if pooled:
            layers.append(nn.MaxPool2d(2))
        inputs = outputs
    layers.append(nn.Flatten())
    return Network(layers, nn.Linear(inputs * (max(size, MIN_SIZE) // 8) ** 2, classes))
