"""A source turns stored tensors into images."""

import abc
from collections.abc import Iterable

import torch
from torch import Tensor, nn

PURPOSES = {"mean": "priors", "std": "priors"}


def purpose(name: str) -> str:
    """What the tensor `name` of a source is for: priors, decoder, residual, pixels, ...

    >>> purpose("mean"), purpose("decoder.project.weight")
    ('priors', 'decoder')
    """
    root = name.partition(".")[0]
    return PURPOSES.get(root, root)


class Source(nn.Module, abc.ABC):
    """A parametrisation of synthetic data: N items, of which images are drawn.

    Attributes:
        classes: (N,) int64, the class of each item; never learned.
        labels: (N, K) soft or learned labels, or None where the class says it all.
        step_size: (S,) the student's step size, learned and shipped with the data.
        noise_shape: the shape of one draw's noise; () where nothing is random.
        latent_values: Z, the values of a latent, which the first of the noise are for; 0 where
            images are not decoded.
    """

    classes: Tensor
    labels: nn.Parameter | None
    step_size: nn.Parameter
    noise_shape: tuple[int, ...]
    latent_values: int = 0

    def __init__(self, classes: Tensor, labels: Tensor | None, step_size: Tensor) -> None:
        super().__init__()
        self.register_buffer("classes", classes.to(torch.int64), persistent=False)
        self.labels = None if labels is None else nn.Parameter(labels)
        self.step_size = nn.Parameter(step_size)

    @abc.abstractmethod
    def images(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,) items and (B, *noise_shape) -> (B, C, H, W) normalised values.

        `noise=None` gives the image of an item's mean.
        """

    def forward(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """The same as `images`, for those who call modules."""
        return self.images(items, noise)

    def latents(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,) items, (B, Z) noise -> (B, Z), what draws are decoded from; `None` gives means."""
        assert not self.noise_shape, f"{type(self).__name__} does not say what its latents are"
        return self.step_size.new_empty(len(items), 0)

    def render(self, items: Tensor, latents: Tensor, white: Tensor | None) -> Tensor:
        """Latents to images, in two steps what `images` does in one.

        Args:
            items: (B,).
            latents: (B, Z), what `latents` made of these items.
            white: what follows the first Z values of the noise; None adds no residual.

        Returns:
            (B, C, H, W) normalised values.
        """
        assert not self.noise_shape, f"{type(self).__name__} does not say how it decodes"
        return self.images(items, None)

    def draw(self, items: Tensor, rng: torch.Generator) -> Tensor:
        """One fresh image of each item: (B,) -> (B, C, H, W), with noise from a CPU generator."""
        if not self.noise_shape:
            return self.images(items, None)
        noise = torch.randn(len(items), *self.noise_shape, generator=rng)
        return self.images(items, noise.to(self.step_size.device))

    def train_only(self, purposes: Iterable[str]) -> dict[str, list[nn.Parameter]]:
        """Freeze what is not named; return the parameters of each purpose that is."""
        chosen: dict[str, list[nn.Parameter]] = {name: [] for name in purposes}
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(purpose(name) in chosen)
            if parameter.requires_grad:
                chosen[purpose(name)].append(parameter)
        return chosen
