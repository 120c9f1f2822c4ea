"""The networks that are trained on real and on distilled images."""

from d3data.errors import UnknownNameError, entry
from d3data.nets.convnet import ConvNet, Norm, default_depth

__all__ = ["ConvNet", "Norm", "build", "default_depth", "networks"]

networks = {"convnet": ConvNet}


def build(
    name: str = "convnet",
    *,
    channels: int,
    size: int,
    classes: int,
    width: int = 128,
    depth: int | None = None,
    norm: Norm = "instance",
) -> ConvNet:
    """A freshly initialised network; its weights come from torch's global generator.

    Args:
        name: a key of `networks`.
        channels: of the images.
        size: height and width of the images, in pixels.
        classes: width of the output.
        width: channels of every convolution.
        depth: number of blocks; None suits `size`.
        norm: none, batch, instance, group or layer.

    Raises:
        UnknownNameError: there is no such network or norm.
        TrainingError: the network is too deep for the images.
    """
    network = entry(networks, name, what="network", error=UnknownNameError)
    return network(
        channels=channels, size=size, classes=classes, width=width, depth=depth, norm=norm
    )
