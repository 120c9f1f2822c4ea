"""LeNet-5 with ReLU, as Zhao, Mopuri & Bilen 2021, arXiv 2006.05929, compare with.

LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition", 1998,
figure 2.
"""

from torch import nn

from d3data.nets.network import Network, centered
from d3data.nets.norms import Norm, normalize

MIN_SIZE = 32  # px: digits of 28 px are zero-padded to 32


def lenet(*, channels: int, size: int, classes: int, norm: Norm = "none") -> Network:
    """Two 5x5 convolutions with pooling, two hidden layers, then one linear layer.

    There is no group norm: the 6 channels of the first convolution do not divide by four groups.
    """
    layers = nn.Sequential(*centered(size, MIN_SIZE))
    for inputs, outputs in ((channels, 6), (6, 16)):
        layers += nn.Sequential(
            nn.Conv2d(inputs, outputs, 5), normalize(norm, outputs), nn.ReLU(), nn.MaxPool2d(2)
        )
    side = ((max(size, MIN_SIZE) - 4) // 2 - 4) // 2
    layers += nn.Sequential(
        nn.Flatten(), nn.Linear(16 * side**2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()
    )
    return Network(layers, nn.Linear(84, classes))
