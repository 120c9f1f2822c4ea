"""Images that are mixed with others of their batch."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from d3data.evaluation.protocols import Mix
from d3data.utils.rng import globally_seeded


def mixed(
    name: Mix, images: Tensor, labels: Tensor, *, classes: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images are mixed with others of their batch, and so are their labels, as torchvision does.

    CutMix: Yun et al. 2019, arXiv 1905.04899. Mixup: Zhang et al. 2018, arXiv 1710.09412.
    (B, C, H, W) and (B,) or (B, K) -> (B, C, H, W) and (B, K), unless `name` is none.
    """
    if name == "cutmix-half":
        name = "cutmix" if torch.rand((), generator=rng) < 0.5 else "none"
    if name == "none":
        return images, labels
    from torchvision.transforms.v2 import CutMix, MixUp

    change = {"cutmix": CutMix, "mixup": MixUp}[name](num_classes=classes)
    soft = labels if labels.is_floating_point() else one_hot(labels, classes).float()
    number = int(torch.randint(1 << 62, (), generator=rng))
    with globally_seeded(number):  # torchvision takes no generator
        images, soft = change(images, soft)
    return images, soft
