"""The student whose training is differentiated (DD, MTT)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from d3data.distill.descent import descended
from d3data.images.augment import Augmentation, Drawn
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.nets.network import FlatNetwork
from d3data.sources.base import Source
from d3data.utils.device import to_device

LEAST_RATE = 1e-8


@torch.no_grad()
def keep_positive(source: Source) -> None:
    """Clamp learned step sizes, so that a step of theirs never makes the student climb."""
    source.step_size.clamp_(min=LEAST_RATE)


@dataclass(frozen=True)
class Lesson:
    """The data of one step: items (B,), their noise (B, noise_values), and their change."""

    items: Tensor
    noise: Tensor | None
    change: Drawn


class Student:
    """A network that learns from a source, some items (B,) a step, drawn and changed by `rng`.

    Where nothing is random, all images are made once; else every step draws its own, through the
    source's parameters, so that no more than one step holds a decoder's graph.
    """

    def __init__(
        self,
        network: FlatNetwork,
        source: Source,
        steps: Iterable[Tensor],
        change: Augmentation,
        rng: torch.Generator,
    ) -> None:
        self._network, self._source, self._change = network, source, change
        device = source.step_size.device
        self._lessons = [
            Lesson(
                to_device(items, device),
                source.noise(len(items), rng),
                change.draw(len(items), rng),
            )
            for items in steps
        ]
        seen: dict[str, Tensor] = {n: p for n, p in source.named_parameters() if p.requires_grad}
        if "labels" in seen and source.given_labels is not None:
            seen["labels"] = source.given_labels
        if not source.noise_values:
            seen = {name: one for name, one in seen.items() if name == "labels"}
            every = torch.arange(len(source.classes), device=device)
            seen["images"] = source(every, None)
        self._names, self._inputs = [*seen], [*seen.values()]

    def trained(
        self,
        start: Tensor,
        *,
        rates: Tensor,
        momentum: float = 0.0,
        stored: bool = False,
        compute: Compute = AS_WRITTEN,
    ) -> Tensor:
        """(P,): where it ends that starts at `start` (P,), with gradients; see `descended`."""
        rates = rates.expand(len(self._lessons))
        how: dict[str, Any] = {"momentum": momentum, "stored": stored, "compute": compute}
        return descended(self._network, self._lesson, start, self._inputs, rates=rates, **how)

    def _lesson(self, step: int, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The images and labels of a step, as a function of all that gradients reach."""
        lesson, given = self._lessons[step], dict(zip(self._names, inputs, strict=True))
        if "images" in given:
            images = given["images"][lesson.items]
        else:
            images = functional_call(self._source, given, (lesson.items, lesson.noise))
        labels = given.get("labels", self._source.given_labels)
        goal = self._source.classes if labels is None else labels
        return self._change.apply(images, lesson.change), goal[lesson.items]
