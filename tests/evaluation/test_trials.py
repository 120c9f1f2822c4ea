"""One trial: which draws it takes, that it repeats, learns, and looks at the test images once."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import one_hot

from d3data.evaluation import trials
from d3data.evaluation.baselines import Photographs, random
from d3data.evaluation.protocols import Protocol
from d3data.rng import generator

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photographs(task):
    return random(task.train, 10, rng=generator(0, "photographs"))


def flat(protocol, draws, count):
    """The (epoch, index) pairs of the first `count` batches."""
    stream = trials.batches(draws, protocol, rng=generator(0, "order"))
    batches = [next(stream) for _ in range(count)]
    return [
        [(epoch, index) for epoch, indices in pieces for index in indices.tolist()]
        for pieces in batches
    ]


@pytest.mark.parametrize("draws", [3, 16, 37])
def test_steps_fill_every_batch_from_whole_epochs(tiny, draws):
    batches = flat(tiny, draws, 37)
    assert {len(batch) for batch in batches} == {16}
    pairs = [pair for batch in batches for pair in batch]
    whole = len(pairs) // draws
    for epoch in range(whole):
        mine = pairs[epoch * draws : (epoch + 1) * draws]
        assert sorted(mine) == [(epoch, index) for index in range(draws)]


def test_epochs_end_with_a_smaller_batch(tiny):
    protocol = tiny.model_copy(update={"steps": None, "epochs": 2, "batch": 4})
    batches = flat(protocol, 10, 6)
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4, 2]
    assert protocol.length(10) == 6
    for epoch in (0, 1):
        mine = [pair for batch in batches[3 * epoch : 3 * epoch + 3] for pair in batch]
        assert sorted(mine) == [(epoch, index) for index in range(10)]


def test_every_epoch_has_its_own_order(tiny):
    first, second = flat(tiny.model_copy(update={"batch": 32}), 32, 2)
    assert [index for _, index in first] != [index for _, index in second]


def run(photographs, task, protocol, *, seed=0, tests=None):
    return trials.run(
        photographs, task, tests or task.test, protocol=protocol, seed=seed, device=CPU
    )


def timeless(trial):
    return trial.model_copy(update={"seconds": 0.0})


def test_a_seed_repeats_bit_for_bit_and_another_does_not(task, tiny, photographs):
    first, again = (timeless(run(photographs, task, tiny)) for _ in range(2))
    other = timeless(run(photographs, task, tiny, seed=1))
    assert first == again
    assert first.loss != other.loss


def test_training_does_not_depend_on_the_global_generator(task, tiny, photographs):
    torch.manual_seed(1)
    first = run(photographs, task, tiny)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert timeless(first) == timeless(run(photographs, task, tiny))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_network_learns_three_digits(task, tiny, photographs):
    longer = tiny.model_copy(update={"width": 8, "steps": 80})
    trial = run(photographs, task, longer)
    assert trial.accuracy > 0.9
    assert (trial.steps, trial.images) == (80, 80 * 16)
    assert trial.seconds > 0


def test_the_share_of_each_class(task, tiny, photographs):
    trial = run(photographs, task, tiny)
    counts = task.test.counts()
    total = sum(c * share for c, share in zip(counts, trial.per_class, strict=True))
    assert total / sum(counts) == pytest.approx(trial.accuracy)
    assert len(set(trial.per_class)) > 1  # each class has its own


def test_a_class_without_test_images_has_no_share(task, tiny, photographs):
    class Fewer(Spy):
        def counts(self):
            return [0, *self.split.counts()[1:]]

    trial = run(photographs, task, tiny, tests=Fewer(task.test))
    assert trial.per_class[0] is None
    assert None not in trial.per_class[1:]


def test_soft_labels_that_say_the_class_are_hard_labels(task, tiny, photographs):
    soft = Photographs(photographs.images, one_hot(photographs.labels, 3).float())
    one, other = run(photographs, task, tiny), run(soft, task, tiny)
    assert one.loss == pytest.approx(other.loss, rel=1e-4)
    assert one.accuracy == pytest.approx(other.accuracy, abs=0.02)


class Spy:
    """A split that remembers what was read of it."""

    def __init__(self, split):
        self.split, self.labels, self.seen = split, split.labels, []

    def __len__(self):
        return len(self.split)

    def counts(self):
        return self.split.counts()

    def read(self, indices):
        self.seen += indices.tolist()
        return self.split.read(indices)


def test_test_images_are_looked_at_once_and_last(task, tiny, photographs):
    spy, looked = Spy(task.test), []
    trials.run(
        photographs,
        replace(task, test=None),
        spy,
        protocol=tiny,
        seed=0,
        device=CPU,
        watch=lambda step, loss: looked.append(len(spy.seen)),
    )
    assert looked == [0] * tiny.steps
    assert spy.seen == list(range(len(task.test)))


def test_training_is_sgd_as_it_is_written(task):
    """Two steps on one full batch, against the update rule of momentum and weight decay."""
    protocol = Protocol(
        name="x", version=1, width=4, epochs=2, batch=6, learning_rate=0.1, momentum=0.5,
        weight_decay=0.01, augment="none",
    )  # fmt: skip
    draws = random(task.train, 2, rng=generator(0, "two"))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3, bias=False)).double()
    draws = Photographs(draws.images.double(), draws.labels)
    weight = network[1].weight.detach().clone()
    velocity = torch.zeros_like(weight)
    for step in range(2):
        logits = draws.images.flatten(1) @ weight.T
        error = logits.softmax(1) - one_hot(draws.labels, 3)
        gradient = error.T @ draws.images.flatten(1) / 6 + 0.01 * weight
        velocity = 0.5 * velocity + gradient
        weight = weight - 0.1 * protocol.factor(step, 2) * velocity
    trials.train(network, draws, protocol=protocol, seed=0, device=CPU)
    torch.testing.assert_close(network[1].weight.detach(), weight)
