"""One trial: a fresh network, trained on a set, tested once on real images."""

import itertools
import time
from collections.abc import Iterator
from typing import Protocol as Interface

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from d3data import nets
from d3data.augment import augmentation
from d3data.evaluation.protocols import Protocol
from d3data.frozen import Frozen
from d3data.rng import generator, seeded
from d3data.tasks import Split, Task
from d3data.training import Watch, descend, ignore, scheduled

CHUNK = 256  # test images at a time


class Draws(Interface):
    """What a network can be trained on: an epoch of len(draws) images, and then the next."""

    def __len__(self) -> int:
        """How many images an epoch has."""

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W), normalised as the task is, and labels (B,) or (B, K)."""


class Trial(Frozen):
    """What came of one network.

    Attributes:
        seed: of its first weights, the order of its images and their augmentation.
        accuracy: the share of test images that it classifies rightly, after the last step.
        per_class: the same for each class; None for one without test images.
        loss: the training loss of the last step.
        steps: that its optimizer took.
        images: draws that it was trained on, repeats counted.
        seconds: that training and testing took.
    """

    seed: int
    accuracy: float
    per_class: tuple[float | None, ...]
    loss: float
    steps: int
    images: int
    seconds: float


def run(
    draws: Draws,
    task: Task,
    tests: Split,
    *,
    protocol: Protocol,
    seed: int,
    device: torch.device,
    watch: Watch = ignore,
) -> Trial:
    """Train a network on `draws` and test it on `tests`, a split of `task`.

    On a CPU, with one number of threads, the same seed gives the same accuracy bit for bit.

    Raises:
        TrainingError: a loss is not finite.
    """
    start = time.perf_counter()
    with seeded(seed, "network"):
        network = nets.build(
            channels=task.channels,
            size=task.size,
            classes=len(task.classes),
            width=protocol.width,
        ).to(device)
    seen, last = train(network, draws, protocol=protocol, seed=seed, device=device, watch=watch)
    right = classified(network, tests, device)
    return Trial(
        seed=seed,
        accuracy=right.float().mean().item(),
        per_class=tuple(
            right[tests.labels == label].float().mean().item() if count else None
            for label, count in enumerate(tests.counts())
        ),
        loss=last,
        steps=protocol.length(len(draws)),
        images=seen,
        seconds=round(time.perf_counter() - start, 3),
    )


def train(
    network: nn.Module,
    draws: Draws,
    *,
    protocol: Protocol,
    seed: int,
    device: torch.device,
    watch: Watch = ignore,
) -> tuple[int, float]:
    """Train `network` as `protocol` says; the images it saw and the loss of its last step."""
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=protocol.learning_rate,
        momentum=protocol.momentum,
        weight_decay=protocol.weight_decay,
    )
    steps, seen, last = protocol.length(len(draws)), 0, torch.tensor(0.0)
    change, rng = augmentation(protocol.augment), generator(seed, "augment")

    def losses() -> Iterator[Tensor]:
        nonlocal seen, last
        for pieces in batches(len(draws), protocol, rng=generator(seed, "order")):
            parts = [draws.batch(epoch, indices, device=device) for epoch, indices in pieces]
            images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
            images = change.apply(images, change.draw(len(images), rng))
            seen, last = seen + len(images), cross_entropy(network(images), labels)
            yield last

    stream = scheduled(losses(), optimizer, lambda step: protocol.factor(step, steps))
    descend(stream, [optimizer], steps=steps, watch=watch)
    return seen, last.item()


def batches(
    draws: int, protocol: Protocol, *, rng: torch.Generator
) -> Iterator[list[tuple[int, Tensor]]]:
    """Which draws each step takes: pieces of permuted epochs, as (epoch, indices).

    No draw comes twice in an epoch. A protocol that counts steps fills every batch, from as many
    epochs as that takes; one that counts epochs ends each with a smaller batch.
    """
    pieces: list[tuple[int, Tensor]] = []
    room = protocol.batch
    for epoch in itertools.count():
        order = torch.randperm(draws, generator=rng)
        while len(order):
            taken, order = order[:room], order[room:]
            pieces.append((epoch, taken))
            room -= len(taken)
            if room == 0 or (protocol.epochs and not len(order)):
                yield pieces
                pieces, room = [], protocol.batch


def classified(network: nn.Module, tests: Split, device: torch.device) -> Tensor:
    """Whether `network` gives each test image its label: (N,) bool on the CPU."""
    network.eval()
    right = []
    with torch.no_grad():
        for indices in torch.split(torch.arange(len(tests)), CHUNK):
            answers = network(tests.read(indices).to(device)).argmax(1).cpu()
            right.append(answers == tests.labels[indices])
    return torch.cat(right)
