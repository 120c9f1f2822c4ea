"""How long an evaluation will take here, from a few steps of each network."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn

from d3data.evaluation.adapters import Photographs
from d3data.evaluation.baselines import NEED_TEACHER, BaselineContext, get_baseline
from d3data.evaluation.baselines.compressed_images import Codec, kept, rounds, stored
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.record import TrainingData
from d3data.evaluation.runner import Runner, teacher_steps
from d3data.evaluation.trial_training import MOST_VALIDATED, POINTS, TrialTraining, predictions
from d3data.utils.rng import generator, seeded
from d3data.utils.schema import Frozen
from d3data.utils.text import counted, duration

STEPS = 5  # that are timed, after one that is not
TESTS = 256  # images that are classified
CHOOSING = "choosing compressed"  # begins the names of rows of networks that only choose


class RowEstimate(Frozen):
    """A row that takes `networks` of `seconds` each."""

    name: str
    network: str
    networks: int
    steps: int
    seconds: float

    @property
    def choosing(self) -> bool:
        """Whether its networks choose how another row is made, and are in no report."""
        return self.name.startswith(CHOOSING)


class Estimate(Frozen):
    """How long an evaluation takes on this machine, as busy as it is now."""

    protocol: str
    rows: tuple[RowEstimate, ...]

    @property
    def seconds(self) -> float:
        """Of all rows."""
        return sum(row.networks * row.seconds for row in self.rows)

    @property
    def steps(self) -> int:
        """Of all networks."""
        return sum(row.networks * row.steps for row in self.rows)

    def summary(self) -> str:
        """Such as `protocol quick: 12 networks, about 4 minutes`."""
        tried = sum(row.networks for row in self.rows if row.choosing)
        networks = counted(sum(row.networks for row in self.rows) - tried, "network")
        if tried:
            shorter = counted(tried, "shorter one")
            networks += f", and {shorter} to choose how images are compressed"
        return f"protocol {self.protocol}: {networks}, about {duration(self.seconds)}"

    def table(self) -> str:
        lines = [
            f"{row.name}, {row.network}: {counted(row.networks, 'network')} of "
            f"{row.steps:,} steps, {duration(row.seconds)} each"
            for row in self.rows
        ]
        return "\n".join([f"protocol {self.protocol}", *lines, f"all: {duration(self.seconds)}"])


class Speed(NamedTuple):
    """Seconds of a step on a set, of a step on real images, and of classifying an image."""

    own: float
    real: float
    image: float


def speed(runner: Runner, data: TrainingData) -> Speed:
    """Times a few steps of training on the set and on real images."""
    train = runner.setup.task.train
    images = Photographs(train, train.labels)
    own = _seconds_per_step(runner, runner.row_data(data).data)
    return Speed(own, _seconds_per_step(runner, images), _seconds_per_image(runner))


def estimate_rows(
    runner: Runner, sets: Sequence[TrainingData], names: Sequence[str], at: Speed
) -> list[RowEstimate]:
    """What each row takes `at` this speed."""
    setup, protocol, task = runner.setup, runner.setup.protocol, runner.setup.task
    data, context = runner.row_data(sets[0]).data, runner.context(sets[0])
    validated = at.image * POINTS * min(MOST_VALIDATED, len(task.validation))
    testing = at.image * len(setup.tests) + validated
    choosing = at.image * len(task.validation) + validated
    rates = len(protocol.learning_rates)
    tried = rates if rates > 1 else 0
    steps = protocol.length(len(data))
    rows = [("distilled", len(runner.seeds) + tried, steps, steps * at.own + testing)] * len(sets)
    for name in names:
        steps = _steps(name, context, protocol)
        networks = len(runner.baseline_seeds) + tried
        rows.append((name, networks, steps, steps * at.real + testing))
        few = rounds(kept(task.size), context.networks) if name == "compressed" else ()
        for count, divisor in few:
            part, what = max(1, steps // divisor), f"{CHOOSING}, 1/{divisor} of the steps"
            rows.append((what, count, part, part * at.real + choosing))
    if {*NEED_TEACHER} & {*names}:
        steps = teacher_steps(setup)
        rows.append(("teacher", 1, steps, steps * at.real))
    fields = ("network", "name", "networks", "steps", "seconds")
    values = (zip(fields, (runner.network, *row), strict=True) for row in rows)
    return [RowEstimate.model_validate(dict(each)) for each in values]


def _steps(name: str, context: BaselineContext, protocol: Protocol) -> int:
    """The steps of a network on a baseline, or on about as many images that need no choice."""
    if protocol.steps is not None and name != "real":
        return protocol.steps
    rng = generator(0, "estimate")
    if name == "compressed":
        row = stored(context, Codec("webp", context.task.size, 30), rng)
    else:
        row = get_baseline("random" if name in NEED_TEACHER else name)(context, rng=rng)
    return row.steps or protocol.length(len(row.data))


def _seconds_per_step(runner: Runner, data: TrainingData) -> float:
    short = runner.setup.protocol.model_copy(update={"steps": STEPS + 1, "epochs": None})
    times, setup = list[float](), replace(runner.setup, protocol=short)
    training = TrialTraining(_network(runner), data, setup, seed=0, rate=1e-6)
    training.run(None, lambda step, loss: times.append(time.perf_counter()), points=0)
    return (times[-1] - times[0]) / STEPS


def _seconds_per_image(runner: Runner) -> float:
    tests, network = runner.setup.tests, _network(runner)
    rows = torch.arange(min(TESTS, len(tests)))
    tests.read(rows)  # decoded, as all but the first network find them
    began = time.perf_counter()
    predictions(network, tests, runner.setup.device, rows)
    return (time.perf_counter() - began) / len(rows)


def _network(runner: Runner) -> nn.Module:
    with seeded(0, "estimate"):
        return runner.build().to(runner.setup.device)
