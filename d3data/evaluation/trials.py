"""One trial: a fresh network, trained on a set, tested once on real images."""

from d3data.evaluation import cost
from d3data.evaluation.record import Trial
from d3data.evaluation.setup import Build, Draws, Ground, answered
from d3data.evaluation.trial_cache import Slot
from d3data.evaluation.trial_training import Course, Spent
from d3data.nets.training import Watch, ignore
from d3data.utils.rng import seeded


def run(
    draws: Draws,
    build: Build,
    ground: Ground,
    *,
    seed: int,
    rate: float | None = None,
    steps: int | None = None,
    slot: Slot | None = None,
    watch: Watch = ignore,
) -> Trial:
    """Train a network that `build` makes on `draws`, and test it on the ground's tests.

    On a CPU, with one number of threads, the same seed gives the same accuracy bit for bit,
    interrupted or not.

    Args:
        draws: what to train on.
        build: makes a network from the global generator, which is seeded for it.
        ground: the real images, the protocol, the device.
        seed: of the network, the order of the draws and their augmentation.
        rate: the learning rate; the protocol's middle one unless given.
        steps: how long; as the protocol says for these draws unless given.
        slot: where a trial is kept that takes long, and found again.
        watch: called after every step.

    Raises:
        TrainingError: a loss is not finite.
    """
    if slot is not None and (known := slot.finished()) is not None:
        return known
    with seeded(seed, "network"):
        network = build().to(ground.device)
    flops = cost.flops_of_an_image(network, draws, ground.task)
    rate = ground.protocol.rate if rate is None else rate
    course = Course(network, draws, ground, seed=seed, rate=rate, steps=steps)
    with cost.peak_memory(ground.device) as memory, seeded(seed, "layers"):
        if ground.train is None:
            course.go(slot, watch)
        else:
            course.hand_over(ground.train)
        spent = Spent(flops and flops * course.seen, memory(), round(course.seconds, 3))
    trial = course.told(answered(network, ground.tests, ground.device), spent)
    if slot is not None:
        slot.finish(trial)
    return trial
