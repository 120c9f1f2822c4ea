"""How long an evaluation will take here: each row's networks, from a few steps of each."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

import torch

from d3data.evaluation.adapters import Pictures
from d3data.evaluation.baselines import TAUGHT, Setting, named
from d3data.evaluation.baselines.compressed import Codec, codecs, rounds, stored
from d3data.evaluation.protocol_epochs import trained_on
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.runner import Bench, lessons
from d3data.evaluation.setup import Build, Draws, Ground, answered
from d3data.evaluation.trial_training import POINTS, SEEN, Course
from d3data.utils.rng import generator, seeded
from d3data.utils.schema import Frozen
from d3data.utils.text import duration

STEPS = 5  # that are timed, after one that is not
TESTS = 256  # images that are classified


class Guess(Frozen):
    """What one row takes: `networks` of them, `seconds` each."""

    name: str
    network: str
    networks: int
    steps: int
    seconds: float

    def unaugmented(self) -> Self:
        """The same row once more, as scores ask for it."""
        return self.model_copy(update={"name": f"{self.name} without augmentation"})


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
            f"{row.name}, {row.network}: {row.networks} network{'s' * (row.networks > 1)} of "
            f"{row.steps:,} steps, {duration(row.seconds)} each"
            for row in self.rows
        ]
        return "\n".join([f"protocol {self.protocol}", *lines, f"all: {duration(self.seconds)}"])


def guesses(
    bench: Bench, sets: Sequence[Draws], rivals: Sequence[str], builds: Mapping[str, Build]
) -> list[Guess]:
    """Train each network for a few steps, on the set and on as many real images, and multiply.

    Args:
        bench: the real images, the protocol, the seeds.
        sets: the set with each kind of label.
        rivals: names of baselines.
        builds: what makes each network.
    """
    ground, rows = bench.ground, list[Guess]()
    protocol, task = ground.protocol, ground.task
    for network, build in builds.items():
        setting = bench.setting(sets[0], network, build)
        seen = trained_on(sets[0], protocol)
        own, real = (
            _seconds_of_a_step(one, build, ground) for one in (seen, Pictures(task.train))
        )
        looks = POINTS * min(SEEN, len(task.validation))
        looking = _seconds_of_an_image(build, ground) * (len(ground.tests) + looks)
        rates = len(protocol.learning_rates)
        trying = rates if rates > 1 else 0
        usual = len(bench.rival_seeds) + trying
        steps = protocol.length(len(seen))
        networks = len(bench.seeds) + trying
        found = [("distilled", networks, steps, steps * own + looking) for _ in sets]
        for name in rivals:
            steps = _steps(name, setting, protocol)
            found.append((name, usual, steps, steps * real + looking))
            if name == "compressed":
                for tried, part in rounds(len(codecs(task.size))):
                    some, what = (
                        max(1, steps // part),
                        f"choosing compressed, 1/{part} of the steps",
                    )
                    found.append((what, tried, some, some * real + looking))
        if {*TAUGHT} & {*rivals}:
            steps = lessons(ground)
            found.append(("teacher", 1, steps, steps * real))
        rows += [
            Guess(name=name, network=network, networks=networks, steps=steps, seconds=seconds)
            for name, networks, steps, seconds in found
        ]
    return rows


def _steps(name: str, setting: Setting, protocol: Protocol) -> int:
    """Of a network on a baseline, or on one of about as many images that needs no choice."""
    if protocol.steps is not None:
        return protocol.steps
    rng = generator(0, "estimate")
    if name == "compressed":
        rival = stored(setting, Codec("webp", setting.task.size, 30), rng)
    else:
        rival = named("random" if name in TAUGHT else name)(setting, rng=rng)
    return rival.steps or protocol.length(len(rival.draws))


def _seconds_of_a_step(draws: Draws, build: Build, ground: Ground) -> float:
    short = ground.protocol.model_copy(update={"steps": STEPS + 1, "epochs": None})
    with seeded(0, "estimate"):
        network = build().to(ground.device)
    times = list[float]()
    course = Course(network, draws, replace(ground, protocol=short), seed=0, rate=1e-6)
    course.go(None, lambda step, loss: times.append(time.perf_counter()), points=0)
    return (times[-1] - times[0]) / STEPS


def _seconds_of_an_image(build: Build, ground: Ground) -> float:
    with seeded(0, "estimate"):
        network = build().to(ground.device)
    some = torch.arange(min(TESTS, len(ground.tests)))
    ground.tests.read(some)  # decoded, as all but the first network finds them
    began = time.perf_counter()
    answered(network, ground.tests, ground.device, some)
    return (time.perf_counter() - began) / len(some)
