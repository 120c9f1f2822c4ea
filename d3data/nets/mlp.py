"""A multilayer perceptron, as Zhao, Mopuri & Bilen 2021, arXiv 2006.05929, compare with."""

from torch import nn

from d3data.nets.network import Network
from d3data.nets.norms import Norm, normalize, per_vector


def mlp(
    *,
    channels: int,
    size: int,
    classes: int,
    width: int = 128,
    depth: int = 2,
    norm: Norm = "none",
) -> Network:
    """The flattened pixels, `depth` hidden layers with ReLU, then one linear layer.

    Norms come before each ReLU; vectors have no instance norm.
    """
    layers = nn.Sequential(nn.Flatten())
    for layer in range(depth):
        layers += nn.Sequential(
            nn.Linear(width if layer else channels * size**2, width),
            normalize(norm, width, table=per_vector, of="vectors"),
            nn.ReLU(),
        )
    return Network(layers, nn.Linear(width, classes))
