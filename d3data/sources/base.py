"""A source: stored tensors, and how images are made of them.

What is known of a kind of source stands on its two classes. The specification says what follows
from sizes alone, without building anything, which is what makes reading a stranger's file safe;
the module holds the tensors and makes images of them in two steps:

    noise -> latents(items, noise) -> decode(latents, white) -> images

A new kind is one file here with both classes, one line in `d3data.sources.registry.SPECS`, and one
file and one line in `d3data.distill.starts`, which fill its tensors before they are distilled.
"""

import abc
import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from d3data.errors import ArtifactError, RecipeError
from d3data.images.spec import Image
from d3data.utils.device import normal, to_device
from d3data.utils.schema import Frozen

Layout = dict[str, tuple[int, ...]]
Tensors = Mapping[str, Tensor]
PURPOSES = {"mean": "priors", "std": "priors"}


def purpose(name: str) -> str:
    """What the tensor `name` of a source is for: the first word of its name, or priors.

    >>> purpose("mean"), purpose("decoder.project.weight")
    ('priors', 'decoder')
    """
    root = name.partition(".")[0]
    return PURPOSES.get(root, root)


class SourceSpec(Frozen, abc.ABC):
    """What a recipe and a manifest say of a source: its kind and its sizes.

    Attributes:
        reference: the paper that the parametrization comes from, as `arXiv:NNNN.NNNNN`.
        purposes: what its tensors are for; each may have an optimizer of its own.
        random: whether an item gives another image each time that it is drawn.
        nonnegative: tensors that never hold negative values.
        format: the first format of artifacts that has such sources.
    """

    kind: str

    reference: ClassVar[str]
    purposes: ClassVar[frozenset[str]]
    random: ClassVar[bool] = False
    nonnegative: ClassVar[frozenset[str]] = frozenset()
    format: ClassVar[int] = 1

    @abc.abstractmethod
    def layout(self, image: Image, *, items: int, classes: int) -> Layout:
        """Names and shapes of the tensors of N items of K classes; labels and step size aside.

        Raises:
            RecipeError: there is no such source for such images.
        """

    def published_values(self, image: Image, *, items: int, classes: int) -> int:
        """How many values these tensors hold as papers count them."""
        shapes = self.layout(image, items=items, classes=classes).values()
        return sum(math.prod(shape) for shape in shapes)

    @abc.abstractmethod
    def build(
        self, image: Image, *, classes: Tensor, step_size: Tensor, labels: Tensor | None
    ) -> "Source":
        """A source of items of the given `classes` (N,), whose own tensors are on `meta`."""

    def with_noise(self, factor: float, tensors: Tensors) -> tuple["SourceSpec", Tensors]:
        """A source whose draws are `factor` times as far from their items' means, and its tensors.

        Raises:
            RecipeError: items have no noise, or it becomes wider than is allowed.
        """
        raise RecipeError(f"items of {self.kind} have no noise: leave noise out")

    def renormalized(self, tensors: Tensors, old: Image, new: Image) -> Tensors:
        """Tensors that make the same pixels where images are normalized as `new`, not as `old`.

        Raises:
            ArtifactError: this source has none.
        """
        raise ArtifactError(
            f"a {self.kind} source like this cannot be normalized otherwise: its sets can only be "
            "joined with others of the same mean and std"
        )

    @abc.abstractmethod
    def describe(self, items: int, parts: int) -> str:
        """What a set of so many items in so many parts consists of, for its card."""


class Source(nn.Module, abc.ABC):
    """A parametrization of synthetic data: N items, of which images are drawn.

    Attributes:
        classes: (N,) int64, the class of each item; never learned.
        members: the items of each class that has some, in ascending order, on the CPU.
        labels: (N, K) soft or learned labels, or None where the class says it all.
        step_size: (S,) the student's step size, learned and shipped with the data.
        latent_shape: the shape of what one image is decoded from.
        latent_noise: Z, how many noise values `latents` takes for a draw; 0 where none.
        white_noise: how many more `decode` takes.
        values_per_image: the largest tensor of one image while it is decoded, in values.
    """

    classes: Tensor
    labels: nn.Parameter | None
    step_size: nn.Parameter
    latent_shape: tuple[int, ...]
    latent_noise: int = 0
    white_noise: int = 0
    values_per_image: int

    def __init__(self, classes: Tensor, labels: Tensor | None, step_size: Tensor) -> None:
        super().__init__()
        self.register_buffer("classes", classes.to(torch.int64), persistent=False)
        counts = torch.bincount(classes.cpu())
        members = classes.cpu().argsort(stable=True).split(counts.tolist())
        self.members: list[Tensor] = [items for items in members if len(items)]
        self.labels = None if labels is None else nn.Parameter(labels)
        self.step_size = nn.Parameter(step_size)

    @abc.abstractmethod
    def latents(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,) items, (B, Z) noise -> (B, *latent_shape); without noise those of the means."""

    @abc.abstractmethod
    def decode(self, latents: Tensor, white: Tensor | None = None) -> Tensor:
        """(B, *latent_shape), (B, white_noise) or None -> (B, C, H, W) normalized values."""

    @property
    def given_labels(self) -> Tensor | None:
        """`labels` as who loads the set will have them, with gradients to what is learned."""
        return self.labels

    @property
    def noise_values(self) -> int:
        """The noise values of one draw: those of its latent, then the white ones."""
        return self.latent_noise + self.white_noise

    def forward(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,) items, (B, noise_values) or None -> (B, C, H, W): both steps."""
        if noise is None or not self.noise_values:
            return self.decode(self.latents(items, None), None)
        latent, white = noise.split([self.latent_noise, self.white_noise], 1)
        return self.decode(self.latents(items, latent), white if self.white_noise else None)

    def images(self, items: Tensor, rng: torch.Generator | None) -> Tensor:
        """(B,) items -> (B, C, H, W) normalized values: a fresh draw of each.

        Noise comes from `rng`, a CPU generator; None gives the images of the means.
        """
        noise = None if rng is None else self.noise(len(items), rng)
        images: Tensor = self(to_device(items, self.step_size.device), noise)
        return images

    def noise(self, count: int, rng: torch.Generator) -> Tensor | None:
        """The noise of so many draws, (B, noise_values), on the device; None where none is."""
        if not self.noise_values:
            return None
        return normal((count, self.noise_values), self.step_size.device, rng)

    def stored(self) -> dict[str, Tensor]:
        """What a part stores of it: contiguous float32 tensors on the CPU."""
        state = self.state_dict()
        return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}

    def confine(self) -> None:
        """Bring its tensors back to where they may be: the engine does so after each step."""

    def compile_decoder(self) -> None:
        """Let torch.compile fuse what decoding computes; nothing where it computes nothing."""

    def train_only(self, purposes: Iterable[str]) -> Mapping[str, list[nn.Parameter]]:
        """Freeze all but the tensors for these purposes; return the parameters of each."""
        chosen: dict[str, list[nn.Parameter]] = {name: [] for name in purposes}
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(purpose(name) in chosen)
            if parameter.requires_grad:
                chosen[purpose(name)].append(parameter)
        return chosen
