"""The decoders of D3's published code as naively as they can be written, and its files."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """Linear layer, 4x4 deconvolutions with norms, 3x3 convolution, Tanh."""

    def __init__(self, width: int, latents: int, size: int) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Linear(latents, 4 * width)
        divisors = {32: [1, 2, 4, 8, 8], 64: [1, 2, 4, 8, 8, 8]}[size]
        widths = [width // divisor for divisor in divisors]
        stages = [_stage(a, b, 4) for a, b in pairwise(widths)]
        self.decoder = nn.Sequential(*stages, nn.Conv2d(widths[-1], 3, 3, padding=1), nn.Tanh())

    def forward(self, latents: Tensor) -> Tensor:
        return self.decoder(self.project(latents).view(-1, self.width, 2, 2))


class Wide(nn.Module):
    """Medium, and large where there is no linear layer: 3x3 deconvolutions, the last apart."""

    def __init__(self, width: int, size: int, *, linear: bool) -> None:
        super().__init__()
        widths = [width // 2**stage for stage in range({32: 4, 64: 5}[size])]
        self.width, self.linear, last = width, linear, widths[-1]
        if linear:
            self.decoder_input = nn.Linear(4 * width, 4 * width)
        stages = [_stage(a, b, 3) for a, b in pairwise(widths)]
        self.decoder = nn.Sequential(*stages)
        self.final_layer = nn.Sequential(
            *_stage(last, last, 3), nn.Conv2d(last, 3, 3, padding=1), nn.Tanh()
        )

    def forward(self, latents: Tensor) -> Tensor:
        hidden = self.decoder_input(latents) if self.linear else latents
        return self.final_layer(self.decoder(hidden.view(-1, self.width, 2, 2)))


def _stage(before: int, after: int, kernel: int) -> nn.Sequential:
    extra = {4: 0, 3: 1}[kernel]
    up = nn.ConvTranspose2d(before, after, kernel, 2, padding=1, output_padding=extra)
    return nn.Sequential(up, nn.BatchNorm2d(after), nn.LeakyReLU())


# task, images' side, classes, latents' length, a decoder
KINDS = {
    "small": ("cifar10", 32, 10, 6, lambda: Small(16, 6, 32)),
    "small-64": ("tiny-imagenet", 64, 200, 6, lambda: Small(16, 6, 64)),
    "medium": ("cifar10", 32, 10, 128, lambda: Wide(32, 32, linear=True)),
    "large": ("cifar10", 32, 10, 128, lambda: Wide(32, 32, linear=False)),
    "large-64": ("tiny-imagenet", 64, 200, 64, lambda: Wide(16, 64, linear=False)),
}


def decoder(kind: str, *, seed: int) -> nn.Module:
    """A decoder in evaluation mode whose norms have statistics of their own."""
    return with_statistics(KINDS[kind][-1](), seed=seed)


def with_statistics(made: nn.Module, *, seed: int) -> nn.Module:
    """The decoder in evaluation mode, with other weights and statistics of its norms."""
    rng = torch.Generator().manual_seed(seed)
    made.eval()
    for name, tensor in made.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.3, 2, generator=rng)
        elif name.endswith("running_mean"):
            tensor.normal_(0, 0.3, generator=rng)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(-0.5, 1.5, generator=rng)
        elif tensor.is_floating_point():
            tensor.normal_(0, 1.5 / tensor[0].numel() ** 0.5, generator=rng)
    return made


def priors(items: int, latents: int, *, seed: int) -> Tensor:
    """Means and log-variances, (N, Z, 2)."""
    return torch.randn(items, latents, 2, generator=torch.Generator().manual_seed(seed))


def content(kind: str, made: nn.Module, stored: Tensor) -> dict:
    """What the published code saves."""
    _, size, _, latents, _ = KINDS[kind]
    return {
        "syn_img": stored.clone().requires_grad_(),
        "vae_state_dict": made.state_dict(),
        "z_dim": latents,
        "kernel_num": 16 if kind.startswith("small") else 128,
        "im_size": (size, size),
        "channel": 3,
    }


def each(kind: str) -> int:
    """Priors of a class: fewer where there are many classes."""
    return 3 if KINDS[kind][2] == 10 else 1


def subtasks(folder: Path, kind: str, *, count: int = 2):
    """Checkpoints in files, and what is in them: paths, decoders, priors."""
    _, _, classes, latents, _ = KINDS[kind]
    decoders = [decoder(kind, seed=number) for number in range(count)]
    stored = [
        priors(classes // count * each(kind), latents, seed=number) for number in range(count)
    ]
    paths = [folder / f"{kind}_{number}_final.pt" for number in range(count)]
    for path, made, rows in zip(paths, decoders, stored, strict=True):
        torch.save(content(kind, made, rows), path)
    return paths, decoders, stored


def soft(items: int, classes: int, *, seed: int, own: Sequence[int] = ()) -> Tensor:
    """Probabilities, (N, K), of a teacher that leans towards the classes `own`."""
    rng = torch.Generator().manual_seed(seed)
    scores = torch.randn(items, classes, generator=rng)
    scores[:, list(own)] += 1
    return scores.softmax(1)
