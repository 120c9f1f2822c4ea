"""One trial: a new network, trained on some data by a protocol, tested once on real images.

All of its state can be saved, so that a trial that was stopped goes on to the same numbers.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from d3data.errors import TrainingError
from d3data.evaluation.adapters import is_fixed
from d3data.evaluation.mixing import mixed
from d3data.evaluation.protocol_epochs import has_learned_labels
from d3data.evaluation.protocols import Protocol, batches
from d3data.evaluation.record import (
    CHUNK,
    MOST_CONFUSED,
    Build,
    EvalSetup,
    Point,
    TrainingData,
    TrainingLoop,
    Trial,
)
from d3data.evaluation.trial_cache import TrialEntry
from d3data.evaluation.trial_costs import flops_per_image, peak_memory
from d3data.evaluation.weight_average import WeightAverage
from d3data.images.augment import augmentation
from d3data.images.tasks import Split
from d3data.nets.checkpoint import Stateful
from d3data.nets.network import logits
from d3data.nets.statistics import DRAWS, RunningStatistics
from d3data.nets.training import Unread, Watch, descend, ignore, scheduled
from d3data.utils.rng import generator, restore, seeded, states

POINTS = 10  # of a learning curve
MOST_VALIDATED = 1000  # validation images behind a point of it


def run_trial(
    data: TrainingData,
    build: Build,
    setup: EvalSetup,
    *,
    seed: int,
    rate: float | None = None,
    steps: int | None = None,
    entry: TrialEntry | None = None,
    watch: Watch = ignore,
    points: int = POINTS,
) -> Trial:
    """Train a network on `data`, and test it on the images of the setup.

    The seed is that of the network, the order of the data and their augmentation; on a CPU, with
    one number of threads, it gives the same accuracy bit for bit, interrupted or not. The rate is
    the protocol's middle one unless given, `points` are those of its curve. The trial is kept in
    `entry`, and read from it if it is finished. Raises TrainingError if a loss is not finite.
    """
    if entry and (finished := entry.finished()):
        return finished
    with seeded(seed, "network"):
        network = build().to(setup.device)
    flops = flops_per_image(network, data, setup.task)
    training = TrialTraining(network, data, setup, seed=seed, rate=rate, steps=steps)
    with setup.compute.precisely(setup.device):
        with peak_memory(setup.device) as memory, seeded(seed, "layers", device=setup.device):
            if setup.train is None:
                training.run(entry, watch, points=points)
            else:
                training.run_own_loop(setup.train)
            peak, seconds = memory(), round(training.seconds, 3)
        reestimated = training.settle()
        predicted = predictions(network, setup.tests, setup.device)
    costs = {"flops": flops and flops * training.seen, "memory": peak, "seconds": seconds}
    trial = training.record(predicted, reestimated=reestimated, **costs)
    if entry:
        entry.finish(trial)
    return trial


class TrialTraining:
    """The training of one network, which can be stopped after any step and go on later."""

    setup: EvalSetup
    network: nn.Module
    data: TrainingData
    seed: int
    rate: float
    optimizer: torch.optim.Optimizer
    rng: torch.Generator
    steps: int
    batches: int

    def __init__(
        self,
        network: nn.Module,
        data: TrainingData,
        setup: EvalSetup,
        *,
        seed: int,
        rate: float | None = None,
        steps: int | None = None,
    ) -> None:
        self.network, self.data, self.setup, self.seed = network, data, setup, seed
        self.rate = setup.protocol.rate if rate is None else rate
        self.steps = steps or setup.protocol.length(len(data))
        self.optimizer = _optimizer(network, setup.protocol, self.rate)
        decay = setup.protocol.average
        self.average = None if decay is None else WeightAverage(network, decay)
        self.rng = generator(seed, "augment")
        self.seen, self.loss, self.curve = 0, 0.0, list[Point]()
        self.statistics, self.batches = RunningStatistics(network), self.steps
        self._since, self._before = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._since

    def run(self, entry: TrialEntry | None, watch: Watch, *, points: int = POINTS) -> None:
        """Train to the last step, from the checkpoint of `entry` on if there is one.

        A KeyboardInterrupt that `watch` raises leaves a checkpoint behind.
        """
        objects: dict[str, Stateful] = {
            "network": self.network,
            "optimizer": self.optimizer,
            "training": self,
            **({} if self.average is None else {"average": self.average}),
        }
        start = entry.restore(objects) if entry else 0
        marks = {self.steps * part // points for part in range(1, points + 1)} - {0}
        last, stopped = 0.0, False

        def told(step: int, loss: float) -> None:
            nonlocal last, stopped
            last = loss
            try:
                watch(step, loss)
            except KeyboardInterrupt:
                stopped = True

        def after(step: int, unread: Unread) -> None:
            if self.average is not None:
                self.average.update()
            if step + 1 in marks:
                unread.read()
                self.loss = last
                self._validate(step + 1)
            if entry and (stopped or entry.due):
                unread.read()
                entry.save(step + 1, objects)
            if stopped:
                raise KeyboardInterrupt

        def factor(step: int) -> float:
            return self.setup.protocol.factor(step, self.steps)

        losses = scheduled(self._losses(start), self.optimizer, factor, start=start)
        descend(losses, [self.optimizer], start=start, steps=self.steps, watch=told, after=after)
        if entry and start < self.steps:
            entry.save(self.steps, objects)
        if self.average is not None:
            self.average.apply()

    def run_own_loop(self, train: TrainingLoop) -> None:
        """Let the user's own loop train, and count the images that it reads."""
        counted = _Counted(self.data)
        train(self.network, counted, seed=self.seed, device=self.setup.device)
        self.seen, self.steps = counted.seen, 0
        self.batches = counted.batches

    def settle(self) -> int:
        """Estimate anew the running statistics that training was too short for; on how many draws.

        The draws are those of the protocol's batches, without augmentation, as test images are.
        One batch is enough where each is a number of whole epochs of the same images.
        """
        norms = self.statistics.unsettled(self.batches)
        if not norms:
            return 0
        protocol, device = self.setup.protocol, self.setup.device
        stream = batches(len(self.data), protocol, rng=generator(self.seed, "statistics"))
        alike = is_fixed(self.data) and protocol.batch % len(self.data) == 0
        chosen = [*itertools.islice(stream, 1 if alike else -(-DRAWS // protocol.batch))]
        images = (
            torch.cat([self.data.batch(*piece, device=device)[0] for piece in pieces])
            for pieces in chosen
        )
        self.statistics.estimate(norms, images)
        return sum(len(rows) for pieces in chosen for _, rows in pieces)

    def record(self, predicted: Tensor, **costs: Any) -> Trial:
        """The record of the trial, of (N,) predicted classes; costs are fields of it."""
        tests, classes = self.setup.tests, len(self.setup.task.classes)
        correct, trained = predicted == tests.labels, self.steps > 0
        pairs = torch.bincount(tests.labels * classes + predicted, minlength=classes**2)
        confusion = tuple(map(tuple, pairs.reshape(classes, classes).tolist()))
        return Trial(
            seed=self.seed,
            learning_rate=self.rate if trained else None,
            accuracy=correct.float().mean().item(),
            per_class=tuple(
                correct[tests.labels == label].float().mean().item() if count else None
                for label, count in enumerate(tests.counts())
            ),
            confusion=confusion if classes <= MOST_CONFUSED else None,
            loss=self.loss if trained else None,
            steps=self.steps,
            images=self.seen,
            curve=tuple(self.curve),
            **costs,
        )

    def state_dict(self) -> dict[str, Any]:
        """All but the network and its optimizer."""
        return {
            "rng": self.rng.get_state(),
            "layers": states(self.setup.device),
            "seen": self.seen,
            "loss": self.loss,
            "seconds": self.seconds,
            "curve": [point.dump() for point in self.curve],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rng.set_state(state["rng"])
        restore(state["layers"], self.setup.device)
        self.seen, self.loss, self._before = state["seen"], state["loss"], state["seconds"]
        self._since = time.perf_counter()
        self.curve = [Point(**point) for point in state["curve"]]

    def _losses(self, start: int) -> Iterator[Tensor]:
        protocol, device = self.setup.protocol, self.setup.device
        classes = len(self.setup.task.classes)
        change, order = augmentation(protocol.augment), generator(self.seed, "order")
        stream = batches(len(self.data), protocol, rng=order)
        for pieces in itertools.islice(stream, start, None):
            parts = [self.data.batch(epoch, rows, device=device) for epoch, rows in pieces]
            images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
            images = change.apply(images, change.draw(len(images), self.rng))
            images, labels = mixed(protocol.mix, images, labels, classes=classes, rng=self.rng)
            self.seen += len(images)
            outputs = self.setup.compute(logits, self.network, images)
            if has_learned_labels(self.data):
                yield 0.5 * (outputs - labels).square().sum(1).mean()
            else:
                yield cross_entropy(outputs, labels)

    def _validate(self, step: int) -> None:
        seconds = self.seconds  # that of validation is not counted
        validation = self.setup.task.validation
        rows = torch.linspace(0, len(validation) - 1, min(MOST_VALIDATED, len(validation))).long()
        if len(rows):
            average = self.average.applied() if self.average else contextlib.nullcontext()
            try:
                with average, self.statistics.restored():
                    self.settle()
                    predicted = predictions(self.network, validation, self.setup.device, rows)
            except TrainingError as failure:
                raise TrainingError(f"after step {step} of {self.steps} {failure}") from None
            accuracy = (predicted == validation.labels[rows]).float().mean().item()
            point = Point(step=step, seconds=round(seconds, 3), loss=self.loss, accuracy=accuracy)
            self.curve.append(point)
        self.network.train()
        self._before, self._since = seconds, time.perf_counter()


class _Counted:
    def __init__(self, data: TrainingData) -> None:
        self._data, self.seen, self.batches = data, 0, 0

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, epoch: int, indices: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        self.seen, self.batches = self.seen + len(indices), self.batches + 1
        return self._data.batch(epoch, indices, device=device)


def predictions(
    network: nn.Module, images: Split, device: torch.device, rows: Tensor | None = None
) -> Tensor:
    """The class that `network` predicts for the images of a split, or for `rows` of them: (N,).

    Raises TrainingError if its logits are not finite.
    """
    network.eval()
    rows = torch.arange(len(images)) if rows is None else rows
    there = images.on(device)
    classes, finite = [], []
    with torch.no_grad():
        for piece in rows.split(CHUNK):
            outputs = network(there.read(piece))
            finite.append(outputs.isfinite().all())
            classes.append(outputs.argmax(1))
    if not torch.stack(finite).all():
        raise TrainingError("the network's logits are not finite: lower the learning rate")
    return torch.cat(classes).cpu()


def _optimizer(network: nn.Module, protocol: Protocol, rate: float) -> torch.optim.Optimizer:
    parameters, decay = network.parameters(), protocol.weight_decay
    if protocol.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    return torch.optim.SGD(parameters, lr=rate, momentum=protocol.momentum, weight_decay=decay)
