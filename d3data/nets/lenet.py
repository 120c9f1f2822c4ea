"""LeNet-5 with ReLU, as Zhao, Mopuri & Bilen 2021, arXiv 2006.05929, compare with.

LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition", 1998,
figure 2.
"""

from torch import nn

from d3data.nets.network import Network, centered
from d3data.nets.norms import Norm, normalize

LEAST = 32  # px: digits of 28 px in a frame of 32


def lenet(*, channels: int, size: int, classes: int, norm: Norm = "none") -> Network:
    """Two 5x5 convolutions with pooling, two hidden layers, then one linear layer.

    Args:
        channels: of the images.
        size: height and width of the images, in pixels; smaller than 32 they are centred in zeros.
        classes: width of the output.
        norm: of the convolutions; their 6 channels do not go into four groups.

    Raises:
        TrainingError: the norm is `group`.
    """
    layers = nn.Sequential(*centered(size, LEAST))
    for before, after in ((channels, 6), (6, 16)):
        layers += nn.Sequential(
            nn.Conv2d(before, after, 5), normalize(norm, after), nn.ReLU(), nn.MaxPool2d(2)
        )
    side = ((max(size, LEAST) - 4) // 2 - 4) // 2
    layers += nn.Sequential(
        nn.Flatten(), nn.Linear(16 * side**2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()
    )
    return Network(layers, nn.Linear(84, classes))
