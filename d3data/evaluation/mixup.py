"""CutMix and mixup: images are mixed with others of their batch, and so are their labels.

CutMix: Yun et al. 2019, arXiv 1905.04899. Mixup: Zhang et al. 2018, arXiv 1710.09412; both as
torchvision has them. Legend: B images of a batch, K classes.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

Mix = Literal["none", "cutmix", "mixup"]


def mixed(
    name: Mix, images: Tensor, labels: Tensor, *, classes: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) and (B,) or (B, K) -> (B, C, H, W) and (B, K), unless `name` is none."""
    if name == "none":
        return images, labels
    from torchvision.transforms.v2 import CutMix, MixUp

    change = {"cutmix": CutMix, "mixup": MixUp}[name](num_classes=classes)
    soft = labels if labels.is_floating_point() else one_hot(labels, classes).float()
    seed = int(torch.randint(1 << 62, (), generator=rng))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # torchvision draws from the global generator
        images, soft = change(images, soft)
    return images, soft
