"""A network in training: through a protocol, stopped and gone on at will."""

import itertools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from d3data.errors import TrainingError
from d3data.evaluation.mixup import mixed
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import MOST_CONFUSED, Point, Trial
from d3data.evaluation.setup import Draws, Ground, Train, answered
from d3data.evaluation.trial_cache import Slot
from d3data.images.augment import augmentation
from d3data.nets.checkpoint import Stateful
from d3data.nets.network import logits
from d3data.nets.training import Watch, descend, scheduled
from d3data.utils.rng import generator

POINTS = 10  # of a learning curve
SEEN = 1000  # validation images that a point of it looks at


class Spent(NamedTuple):
    """What training alone took, as `Trial` says it."""

    flops: int | None
    memory: int | None
    seconds: float


class Course:
    """A network on its way through a protocol: all of it can be saved and restored."""

    def __init__(
        self,
        network: nn.Module,
        draws: Draws,
        ground: Ground,
        *,
        seed: int,
        rate: float,
        steps: int | None = None,
    ) -> None:
        self.network, self.draws, self.ground, self.seed = network, draws, ground, seed
        self.rate, self.steps = rate, steps or ground.protocol.length(len(draws))
        self.optimizer = _optimizer(network, ground.protocol, rate)
        self.rng = generator(seed, "augment")
        self.seen, self.loss, self.curve = 0, 0.0, list[Point]()
        self._since, self._before = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """How long it was trained, interruptions left out."""
        return self._before + time.perf_counter() - self._since

    def go(self, slot: Slot | None, watch: Watch, *, points: int = POINTS) -> None:
        """Train to the last step, from where the slot's checkpoint is, if there is one.

        A KeyboardInterrupt that `watch` raises leaves a checkpoint behind.

        Args:
            slot: where checkpoints are kept.
            watch: called after every step.
            points: of the learning curve.

        Raises:
            TrainingError: a loss is not finite.
        """
        objects: dict[str, Stateful] = {
            "network": self.network,
            "optimizer": self.optimizer,
            "course": self,
        }
        start = 0 if slot is None else slot.restore(objects)
        marks = {self.steps * part // points for part in range(1, points + 1)} - {0}

        def after(step: int, loss: Tensor) -> None:
            if step + 1 in marks:
                self.loss = loss.item()
                self._look(step + 1)
            try:
                watch(step, loss)
            except KeyboardInterrupt:
                if slot is not None:
                    slot.save(step + 1, objects)
                raise
            if slot is not None and slot.due:
                slot.save(step + 1, objects)

        stream = scheduled(
            self._losses(start),
            self.optimizer,
            lambda step: self.ground.protocol.factor(step, self.steps),
            start=start,
        )
        descend(stream, [self.optimizer], start=start, steps=self.steps, watch=after)
        if slot is not None and start < self.steps:
            slot.save(self.steps, objects)

    def hand_over(self, train: Train) -> None:
        """Let the user's own loop train, and count the images that it asks for."""
        counted = _Counted(self.draws)
        train(self.network, counted, seed=self.seed, device=self.ground.device)
        self.seen, self.steps = counted.seen, 0

    def told(self, answers: Tensor, spent: Spent) -> Trial:
        """The record of it: `answers` (N,) are the classes that the network gives the tests."""
        tests, classes = self.ground.tests, len(self.ground.task.classes)
        right = answers == tests.labels
        pairs = torch.bincount(tests.labels * classes + answers, minlength=classes**2)
        confusion = tuple(map(tuple, pairs.reshape(classes, classes).tolist()))
        return Trial(
            seed=self.seed,
            learning_rate=self.rate if self.steps else None,
            accuracy=right.float().mean().item(),
            per_class=tuple(
                right[tests.labels == label].float().mean().item() if count else None
                for label, count in enumerate(tests.counts())
            ),
            confusion=confusion if classes <= MOST_CONFUSED else None,
            loss=self.loss if self.steps else None,
            steps=self.steps,
            images=self.seen,
            curve=tuple(self.curve),
            **spent._asdict(),
        )

    def state_dict(self) -> dict[str, Any]:
        """All but the network and its optimizer."""
        return {
            "rng": self.rng.get_state(),
            "layers": torch.get_rng_state(),
            "seen": self.seen,
            "loss": self.loss,
            "seconds": self.seconds,
            "curve": [point.dump() for point in self.curve],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.rng.set_state(state["rng"])
        torch.set_rng_state(state["layers"])
        self.seen, self.loss, self._before = state["seen"], state["loss"], state["seconds"]
        self._since = time.perf_counter()
        self.curve = [Point(**point) for point in state["curve"]]

    def _losses(self, start: int) -> Iterator[Tensor]:
        protocol, device = self.ground.protocol, self.ground.device
        classes = len(self.ground.task.classes)
        change, order = augmentation(protocol.augment), generator(self.seed, "order")
        for pieces in itertools.islice(batches(len(self.draws), protocol, rng=order), start, None):
            parts = [self.draws.batch(epoch, some, device=device) for epoch, some in pieces]
            images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
            images = change.apply(images, change.draw(len(images), self.rng))
            images, labels = mixed(protocol.mix, images, labels, classes=classes, rng=self.rng)
            self.seen += len(images)
            yield cross_entropy(self.ground.compute(logits, self.network, images), labels)

    def _look(self, step: int) -> None:
        """Add a point to the learning curve; the clock stands still meanwhile."""
        seconds = self.seconds
        validation = self.ground.task.validation
        some = torch.linspace(0, len(validation) - 1, min(SEEN, len(validation))).long()
        if len(some):
            try:
                answers = answered(self.network, validation, self.ground.device, some)
            except TrainingError as failure:
                raise TrainingError(f"after step {step} of {self.steps} {failure}") from None
            accuracy = (answers == validation.labels[some]).float().mean().item()
            point = Point(step=step, seconds=round(seconds, 3), loss=self.loss, accuracy=accuracy)
            self.curve.append(point)
        self.network.train()
        self._before, self._since = seconds, time.perf_counter()


def batches(
    draws: int, protocol: Protocol, *, rng: torch.Generator
) -> Iterator[list[tuple[int, Tensor]]]:
    """Which draws each step takes: pieces of permuted epochs, as (epoch, indices).

    No draw comes twice in an epoch. A protocol that counts steps fills every batch, from as many
    epochs as that takes; one that counts epochs ends each with a smaller batch, but a single draw,
    which norms over a batch cannot take, joins the batch before.
    """
    pieces: list[tuple[int, Tensor]] = []
    room = protocol.batch
    for epoch in itertools.count():
        order = torch.randperm(draws, generator=rng)
        while len(order):
            lone = protocol.epochs is not None and 1 < room == len(order) - 1
            taken, order = order[: room + lone], order[room + lone :]
            pieces.append((epoch, taken))
            room -= len(taken)
            if room <= 0 or (protocol.epochs and not len(order)):
                yield pieces
                pieces, room = [], protocol.batch


class _Counted:
    """Draws that count how many were asked for."""

    def __init__(self, draws: Draws) -> None:
        self._draws, self.seen = draws, 0

    def __len__(self) -> int:
        return len(self._draws)

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        self.seen += len(indices)
        return self._draws.batch(epoch, indices, device=device)


def _optimizer(network: nn.Module, protocol: Protocol, rate: float) -> torch.optim.Optimizer:
    if protocol.optimizer == "adamw":
        return torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=protocol.weight_decay)
    return torch.optim.SGD(
        network.parameters(),
        lr=rate,
        momentum=protocol.momentum,
        weight_decay=protocol.weight_decay,
    )
