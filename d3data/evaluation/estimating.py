"""How long an evaluation will take here: each row's networks, from a few steps of each."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from d3data.evaluation.others import Pictures
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.trials import Build, Course, Draws, Ground, answered
from d3data.frozen import Frozen
from d3data.rng import seeded

STEPS = 5  # that are timed, after one that is not
TESTS = 256  # images that are classified
TAUGHT = {"herding", "k-center", "k-means", "soft"}
CHOSEN = {"compressed": 12}  # networks that are trained to choose


class Guess(Frozen):
    """What one row takes: `networks` of them, `seconds` each."""

    name: str
    network: str
    networks: int
    steps: int
    seconds: float


class Estimate(Frozen):
    """What a report would take on this machine, as busy as it is now."""

    protocol: str
    rows: tuple[Guess, ...]

    @property
    def seconds(self) -> float:
        """Of all rows."""
        return sum(row.networks * row.seconds for row in self.rows)

    def table(self) -> str:
        """For people."""
        lines = [
            f"{row.name}, {row.network}: {row.networks} networks of {row.steps:,} steps, "
            f"{_spell(row.seconds)} each"
            for row in self.rows
        ]
        return "\n".join([f"protocol {self.protocol}", *lines, f"all: {_spell(self.seconds)}"])


def estimate(
    draws: Draws,
    ground: Ground,
    names: Sequence[str],
    builds: Mapping[str, Build],
    *,
    networks: int,
) -> Estimate:
    """Train each network for a few steps, on the set and on as many real images, and multiply.

    Args:
        draws: the set.
        ground: the real images, the protocol, the device.
        names: of the rows: `distilled`, or a baseline's.
        builds: what makes each network.
        networks: how many each row has.
    """
    protocol = ground.protocol
    rows = list[Guess]()
    for network, build in builds.items():
        known = [draws, Pictures(ground.task.train)]
        own, real = (_seconds_of_a_step(one, build, ground) for one in known)
        tests = _seconds_of_an_image(build, ground) * len(ground.tests)
        for name in names:
            each = own if name == "distilled" else real
            steps = protocol.length(len(draws))
            count = networks + CHOSEN.get(name, 0) + _tried(protocol)
            rows.append(
                Guess(
                    name=name,
                    network=network,
                    networks=count,
                    steps=steps,
                    seconds=steps * each + tests,
                )
            )
        if TAUGHT & set(names):
            steps = protocol.length(len(ground.task.train))
            rows.append(
                Guess(
                    name="teacher", network=network, networks=1, steps=steps, seconds=steps * real
                )
            )
    return Estimate(protocol=protocol.name, rows=tuple(rows))


def _tried(protocol: Protocol) -> int:
    """The networks that choose a learning rate."""
    rates = len(protocol.learning_rates)
    return rates if rates > 1 else 0


def _seconds_of_a_step(draws: Draws, build: Build, ground: Ground) -> float:
    short = ground.protocol.model_copy(update={"steps": STEPS + 1, "epochs": None})
    with seeded(0, "estimate"):
        network = build().to(ground.device)
    times = list[float]()
    course = Course(network, draws, replace(ground, protocol=short), seed=0, rate=1e-6)
    course.go(None, lambda step, loss: times.append(time.perf_counter()))
    return (times[-1] - times[0]) / STEPS


def _seconds_of_an_image(build: Build, ground: Ground) -> float:
    with seeded(0, "estimate"):
        network = build().to(ground.device)
    some = torch.arange(min(TESTS, len(ground.tests)))
    ground.tests.read(some)  # decoded, as all but the first network finds them
    began = time.perf_counter()
    answered(network, ground.tests, ground.device, some)
    return (time.perf_counter() - began) / len(some)


def _spell(seconds: float) -> str:
    """A duration for people.

    >>> _spell(4.2), _spell(200), _spell(9000)
    ('4 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
