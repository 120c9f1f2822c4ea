"""Vision transformers.

Dosovitskiy et al., "An image is worth 16x16 words", 2021, arXiv 2010.11929. Two kinds: the one
that Qin, Deng & Alvarez-Melis 2024, arXiv 2403.00999, evaluate distilled data with, and the tiny
one of Touvron et al. 2021, arXiv 2012.12877, table 1. Neither has dropout here (the former's is
0.1): an output is a function of images and weights alone.
"""

import torch
from torch import Tensor, nn

from d3data.errors import TrainingError
from d3data.nets.network import Network
from d3data.nets.norms import Norm, normalize, per_token

PATCHES = (16, 8, 4, 2)  # px
HEAD_WIDTH = 64
MAX_PATCHES = 32  # per side: the cost of attention grows with the fourth power


class Attention(nn.Module):
    """Self-attention in `width` / 64 heads.

    Not by `scaled_dot_product_attention`, whose fused kernels have no second derivatives.
    """

    heads: int
    queries_keys_values: nn.Linear
    out: nn.Linear

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        mixed = self.queries_keys_values(tokens).unflatten(2, (3, self.heads, HEAD_WIDTH))
        queries, keys, values = mixed.permute(2, 0, 3, 1, 4)  # each (B, heads, T, 64)
        weights = (queries @ keys.mT * HEAD_WIDTH**-0.5).softmax(3)  # (B, heads, T, T)
        mixture = (weights @ values).transpose(1, 2).flatten(2)  # (B, T, D)
        attended: Tensor = self.out(mixture)
        return attended


class Layer(nn.Module):
    """Attention, then an MLP on each token, both pre-norm and residual.

    `look` and `think` are keys of stored state dicts, so they keep their names.
    """

    look: nn.Sequential
    think: nn.Sequential

    def __init__(self, width: int, *, hidden: int, bias: bool, norm: Norm) -> None:
        super().__init__()
        self.look = nn.Sequential(_norm(norm, width), Attention(width, bias=bias))
        self.think = nn.Sequential(
            _norm(norm, width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        tokens = tokens + self.look(tokens)
        summed: Tensor = tokens + self.think(tokens)
        return summed


class Tokens(nn.Module):
    """An image as tokens: a class token and its patches of `patch` px, with learned positions.

    `std` is that of the class token and the positions at initialization.
    """

    patches: nn.Conv2d
    positions: nn.Parameter
    read: nn.Parameter

    def __init__(self, channels: int, size: int, *, patch: int, width: int, std: float) -> None:
        if width % HEAD_WIDTH:
            raise TrainingError(
                f"the heads of a transformer have {HEAD_WIDTH} channels each: choose a width that "
                f"is a multiple of {HEAD_WIDTH}, not {width}"
            )
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(std * torch.randn(1 + (size // patch) ** 2, width))
        self.read = nn.Parameter(std * torch.randn(width))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1 + patches, D): the class token comes first."""
        patches = self.patches(images).flatten(2).mT
        read = self.read.expand(len(images), 1, -1)
        return torch.cat([read, patches], 1) + self.positions


class First(nn.Module):
    """The first token of each image."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) -> (B, D)."""
        return tokens[:, 0]


def vit(
    *,
    channels: int,
    size: int,
    classes: int,
    width: int = 512,
    depth: int = 10,
    norm: Norm = "none",
) -> Network:
    """The ViT of arXiv 2403.00999: MLPs as wide as a token, patches of 16 px if they fit.

    `width` is that of a token, a multiple of 64. The norm is none, or layer.
    """
    patch = patch_size(size, least=2)
    tokens = Tokens(channels, size, patch=patch, width=width, std=1.0)
    layers = [Layer(width, hidden=width, bias=False, norm=norm) for _ in range(depth)]
    return _transformer(tokens, layers, width=width, classes=classes, norm=norm)


def vit_tiny(
    *,
    channels: int,
    size: int,
    classes: int,
    width: int = 192,
    depth: int = 12,
    norm: Norm = "layer",
) -> Network:
    """ViT-tiny: MLPs of four times the width, at least seven patches per side if they fit.

    `width` is that of a token, a multiple of 64. The norm is layer, or none.
    """
    patch = patch_size(size, least=7)
    tokens = Tokens(channels, size, patch=patch, width=width, std=0.02)
    layers = [Layer(width, hidden=4 * width, bias=True, norm=norm) for _ in range(depth)]
    return _transformer(tokens, layers, width=width, classes=classes, norm=norm)


def patch_size(size: int, *, least: int) -> int:
    """The largest patch, in pixels, of which `least` or more fit per side; else the smallest.

    >>> [patch_size(size, least=7) for size in (8, 28, 32, 64, 128, 224)]
    [2, 4, 4, 8, 16, 16]

    Raises:
        TrainingError: no patch divides `size`, or there would be more than 32 per side.
    """
    fitting = [patch for patch in PATCHES if size % patch == 0]
    chosen = next((patch for patch in fitting if size // patch >= least), min(fitting, default=0))
    if not chosen or size // chosen > MAX_PATCHES:
        below = min(size, MAX_PATCHES * 16) // 16 * 16
        possible = [f"{near}" for near in (below, below + 16) if 0 < near <= MAX_PATCHES * 16]
        raise TrainingError(
            f"images of {size} px cannot be cut into at most {MAX_PATCHES} patches of 2, 4, 8 or "
            f"16 px per side: use images of {' or '.join(possible)} px, or a network without "
            "patches"
        )
    return chosen


def _transformer(
    tokens: Tokens, layers: list[Layer], *, width: int, classes: int, norm: Norm
) -> Network:
    body = nn.Sequential(tokens, *layers, First(), _norm(norm, width))
    return Network(body, nn.Linear(width, classes))


def _norm(norm: Norm, width: int) -> nn.Module:
    return normalize(norm, width, table=per_token, of="tokens")
