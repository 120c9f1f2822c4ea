"""Matching gradients (DC, DSA).

Zhao, Mopuri, Bilen 2021, "Dataset Condensation with Gradient Matching", arXiv 2006.05929,
Algorithm 1 and Eq. 9-10; with an augmentation DSA, Zhao, Bilen 2021, "Dataset Condensation with
Differentiable Siamese Augmentation", arXiv 2102.08259, Algorithm 1.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from d3data.distill.context import ObjectiveContext
from d3data.distill.experts import NetworkSpec
from d3data.distill.objectives.base import Objective, require_classes
from d3data.distill.pupil import Pupil
from d3data.images.augment import Augmentation, augmentation
from d3data.nets.network import logits
from d3data.sources.base import Source
from d3data.utils.device import to_device


class GradientMatching(Objective):
    """Asks of the synthetic data that a network learns from them what it learns from real images.

        sum over classes k, layers, output units u of  1 - cos(g_u(S_k), g_u(T_k))

    g_u(X) is the gradient of the mean cross-entropy of X in the weights of unit u: of all items
    S_k and of `real` real images T_k of the class, under the same `augment`, drawn anew for each
    class. A network serves `outer` steps of the engine; before each but the first it is trained
    for `inner` epochs on the synthetic data. Weights without inputs, biases and those of norms,
    do not count.
    """

    kind: Literal["dc"] = "dc"
    network: NetworkSpec = NetworkSpec()
    outer: int = Field(default=1, ge=1)
    inner: int = Field(default=1, ge=1)
    real: int = Field(default=256, ge=1)
    batch: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)
    augment: str = "none"

    reference: ClassVar[str] = "arXiv:2006.05929"

    def require_fit(self, *, classes: int, items: Sequence[int], step_sizes: int) -> None:
        require_classes(classes, "no gradients to match (its cross-entropy is constant)")

    @property
    def period(self) -> int:
        return self.outer

    def losses(self, source: Source, context: ObjectiveContext) -> Iterator[Tensor]:
        """Yield the distance of gradients, summed over classes."""
        descent = partial(torch.optim.SGD, lr=self.learning_rate)
        pupil = context.keep("pupil", lambda: Pupil(self.network, context, descent))
        change = augmentation(self.augment)
        for step in context.step_range:
            rng = context.rng("dc", step)
            if step % self.outer == 0:
                pupil.renew(rng)
            else:
                self._train(pupil, source, change, rng)
            distances: list[Tensor] = []
            for label, items in enumerate(source.members):
                same = partial(change.apply, drawn=change.draw(1, rng, shared=True))
                real, labels = context.task.train.batch(self.real, of=label, rng=rng)
                outputs = context.compute(logits, pupil.network, same(real))
                goal = torch.autograd.grad(F.cross_entropy(outputs, labels), pupil.parameters)
                outputs = pupil.network(same(source.images(items, rng)))
                loss = F.cross_entropy(outputs, labels[:1].expand(len(items)))
                mine = torch.autograd.grad(loss, pupil.parameters, create_graph=True)
                distances += map(distance, mine, goal)
            yield torch.stack(distances).sum()

    def _train(
        self, pupil: Pupil, source: Source, change: Augmentation, rng: torch.Generator
    ) -> None:
        """The inner loop: `inner` epochs on what the synthetic data are now."""
        for _ in range(self.inner):
            for items in torch.randperm(len(source.classes), generator=rng).split(self.batch):
                with torch.no_grad():
                    images = change(source.images(items, rng), rng)
                labels = source.classes[to_device(items, images.device)]
                pupil.step(F.cross_entropy(pupil.network(images), labels))


def distance(one: Tensor, other: Tensor) -> Tensor:
    """Sum over output units of 1 - the cosine of their gradients, (U, ...) each; of vectors 0."""
    if one.dim() < 2:
        return one.new_zeros(())
    one, other = one.flatten(1), other.flatten(1)
    lengths = one.norm(dim=1) * other.norm(dim=1)
    cosines = (one * other).sum(1) / (lengths + 1e-6)
    apart: Tensor = (1 - cosines).sum()
    return apart
