"""AlexNet for small images, as Zhao, Mopuri & Bilen 2021, arXiv 2006.05929, compare with.

Krizhevsky, Sutskever & Hinton, "ImageNet classification with deep convolutional neural networks",
2012; here without strides in the first convolution and with one linear layer in place of three.
"""

from torch import nn

from d3data.nets.network import Network, centered
from d3data.nets.norms import Norm, normalize

LEAST = 32  # px: the field frames 28 px images in 32


def alexnet(
    *, channels: int, size: int, classes: int, width: int = 128, norm: Norm = "none"
) -> Network:
    """Five convolutions, three of them with 2x2 maximum pooling, then one linear layer.

    Args:
        channels: of the images.
        size: height and width of the images, in pixels; smaller than 32 they are centred in zeros.
        classes: width of the output.
        width: channels of the first convolution; the others have 3/2, 2, 3/2 and 3/2 of it.
        norm: of the convolutions; `none` is the field's.

    Raises:
        TrainingError: the groups of the norm do not go into the channels.
    """
    layers = nn.Sequential(*centered(size, LEAST))
    half, before = width // 2, channels
    # each convolution: its channels, its kernel, whether pooling follows
    for after, kernel, pooled in (
        (2 * half, 5, True),
        (3 * half, 5, True),
        (4 * half, 3, False),
        (3 * half, 3, False),
        (3 * half, 3, True),
    ):
        layers += nn.Sequential(
            nn.Conv2d(before, after, kernel, padding=kernel // 2),
            normalize(norm, after),
            nn.ReLU(),
        )
        if pooled:
            layers.append(nn.MaxPool2d(2))
        before = after
    layers.append(nn.Flatten())
    return Network(layers, nn.Linear(before * (max(size, LEAST) // 8) ** 2, classes))
