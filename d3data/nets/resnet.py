"""ResNet with eighteen layers and the stem for small images.

He, Zhang, Ren & Sun, "Deep residual learning for image recognition", 2016, arXiv 1512.03385. Two
kinds: as it is trained on CIFAR-10, and as Zhao, Mopuri & Bilen 2021, arXiv 2006.05929, changed
it, which evaluations of distilled data have used since: convolutions keep the size, average
pooling halves it, and the classifier reads the whole last map.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from d3data.nets.network import Network, centered
from d3data.nets.norms import Norm, normalize

MIN_SIZE = 16  # px: instance norm needs a last map, an eighth, of more than one pixel


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut around them.

    Stride 2 halves the size; `pooled` does it by average pooling instead of strided convolutions.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, pooled: bool, norm: Norm
    ) -> None:
        super().__init__()
        step = 1 if pooled else stride
        pool = [nn.AvgPool2d(stride)] if pooled and stride > 1 else []
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=step, padding=1, bias=False),
            normalize(norm, outputs),
            nn.ReLU(),
            *pool,
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            normalize(norm, outputs),
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut += nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=step, bias=False),
                *pool,
                normalize(norm, outputs),
            )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        return relu(self.main(maps) + self.shortcut(maps))


def resnet18(
    *, channels: int, size: int, classes: int, width: int = 64, norm: Norm = "batch"
) -> Network:
    """The network as it is trained on CIFAR-10: strides, and the mean of the last map.

    `width` is that of the first stage; each of the next three has twice as many channels.
    """
    body = _stages(channels, size, width, norm=norm, pooled=False)
    body += nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(body, nn.Linear(8 * width, classes))


def resnet18_ap(
    *, channels: int, size: int, classes: int, width: int = 64, norm: Norm = "instance"
) -> Network:
    """The variant of distillation papers: average pooling, and the whole last map.

    `width` is that of the first stage; each of the next three has twice as many channels.
    """
    body = _stages(channels, size, width, norm=norm, pooled=True)
    body.append(nn.Flatten())
    return Network(body, nn.Linear(8 * width * (max(size, MIN_SIZE) // 8) ** 2, classes))


def _stages(channels: int, size: int, width: int, *, norm: Norm, pooled: bool) -> nn.Sequential:
    """The stem and four stages of two blocks; three of the stages halve the size."""
    layers = nn.Sequential(
        *centered(size, MIN_SIZE),
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        normalize(norm, width),
        nn.ReLU(),
    )
    inputs = width
    for stage in range(4):
        outputs = width << stage
        for stride in (2 if stage else 1, 1):
            layers.append(Block(inputs, outputs, stride=stride, pooled=pooled, norm=norm))
            inputs = outputs
    return layers
