"""ResNet with eighteen layers and the stem for small images.

He, Zhang, Ren & Sun, "Deep residual learning for image recognition", 2016, arXiv 1512.03385. Two
kinds: as it is trained on CIFAR-10, and as Zhao, Mopuri & Bilen 2021, arXiv 2006.05929, changed
it, which evaluations on distilled data have used since: convolutions keep the size, average
pooling halves it, and the classifier reads the last map whole.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from d3data.nets.network import Network, centered
from d3data.nets.norms import Norm, normalize

LEAST = 16  # px: the last map, an eighth, must be more than one pixel to have an instance norm


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut around them.

    Args:
        before: channels that come in.
        after: channels that go out.
        stride: 2 halves the size, 1 keeps it.
        pooled: whether average pooling halves it, and not the convolutions' strides.
        norm: of the convolutions.
    """

    def __init__(self, before: int, after: int, *, stride: int, pooled: bool, norm: Norm) -> None:
        super().__init__()
        step = 1 if pooled else stride
        pool = [nn.AvgPool2d(stride)] if pooled and stride > 1 else []
        self.main = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=step, padding=1, bias=False),
            normalize(norm, after),
            nn.ReLU(),
            *pool,
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            normalize(norm, after),
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or before != after:
            self.shortcut += nn.Sequential(
                nn.Conv2d(before, after, 1, stride=step, bias=False),
                *pool,
                normalize(norm, after),
            )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, before, H, W) -> (B, after, H / stride, W / stride)."""
        return relu(self.main(maps) + self.shortcut(maps))


def resnet18(
    *, channels: int, size: int, classes: int, width: int = 64, norm: Norm = "batch"
) -> Network:
    """The network as it is trained on CIFAR-10: strides, and the mean of the last map.

    Args:
        channels: of the images.
        size: height and width of the images, in pixels; smaller than 16 they are centred in zeros.
        classes: width of the output.
        width: channels of the first stage; each of the next three has twice as many.
        norm: of the convolutions; `batch` is its authors'.

    Raises:
        TrainingError: the groups of the norm do not go into the channels.
    """
    body = _stages(channels, size, width, norm=norm, pooled=False)
    body += nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(body, nn.Linear(8 * width, classes))


def resnet18_ap(
    *, channels: int, size: int, classes: int, width: int = 64, norm: Norm = "instance"
) -> Network:
    """The field's variant: average pooling, and the whole of the last map.

    Args:
        channels: of the images.
        size: height and width of the images, in pixels; smaller than 16 they are centred in zeros.
        classes: width of the output.
        width: channels of the first stage; each of the next three has twice as many.
        norm: of the convolutions; `instance` is the field's.

    Raises:
        TrainingError: the groups of the norm do not go into the channels.
    """
    body = _stages(channels, size, width, norm=norm, pooled=True)
    body.append(nn.Flatten())
    return Network(body, nn.Linear(8 * width * (max(size, LEAST) // 8) ** 2, classes))


def _stages(channels: int, size: int, width: int, *, norm: Norm, pooled: bool) -> nn.Sequential:
    """The stem and four stages of two blocks; three of the stages halve the size."""
    layers = nn.Sequential(
        *centered(size, LEAST),
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        normalize(norm, width),
        nn.ReLU(),
    )
    before = width
    for stage in range(4):
        after = width << stage
        for stride in (2 if stage else 1, 1):
            layers.append(Block(before, after, stride=stride, pooled=pooled, norm=norm))
            before = after
    return layers
