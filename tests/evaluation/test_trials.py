"""One trial: which draws it takes, that it repeats, learns, and looks at the test images once."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import one_hot
from torch.utils.flop_counter import FlopCounterMode

from d3data import nets
from d3data.errors import TrainingError
from d3data.evaluation import cost, trial_cache, trial_training, trials
from d3data.evaluation.baselines import Photographs
from d3data.evaluation.baselines.setting import drawn
from d3data.evaluation.protocols import Protocol
from d3data.evaluation.setup import Ground, answered
from d3data.nets import NetworkSpec, checkpoint
from d3data.nets.training import ignore
from d3data.utils.rng import generator
from spies import Spy

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photographs(task):
    return some(task, 10)


def some(task, each):
    rows = drawn(task.train, each, generator(0, "photographs"))
    return Photographs(task.train.read(rows), task.train.labels[rows])


def flat(protocol, draws, count):
    """The (epoch, index) pairs of the first `count` batches."""
    stream = trial_training.batches(draws, protocol, rng=generator(0, "order"))
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


def test_a_single_draw_joins_the_batch_before(tiny):
    protocol = tiny.model_copy(update={"steps": None, "epochs": 2, "batch": 4})
    assert [len(batch) for batch in flat(protocol, 9, 4)] == [4, 5, 4, 5]
    assert protocol.length(9) == 4
    alone = protocol.model_copy(update={"batch": 1})
    assert [len(batch) for batch in flat(alone, 3, 6)] == [1] * 6


def test_every_epoch_has_its_own_order(tiny):
    first, second = flat(tiny.model_copy(update={"batch": 32}), 32, 2)
    assert [index for _, index in first] != [index for _, index in second]


def ground(task, protocol, tests=None):
    return Ground(task, tests or task.test, protocol, CPU)


def builder(task, protocol):
    shape = {"channels": task.channels, "size": task.size, "classes": len(task.classes)}
    return partial(nets.build, protocol.network, **shape)


def run(photographs, task, protocol, *, build=None, seed=0, tests=None, **options):
    return trials.run(
        photographs,
        build or builder(task, protocol),
        ground(task, protocol, tests),
        seed=seed,
        **options,
    )


def forgetful():
    """A network with dropout, whose random numbers are torch's own."""
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(64, 3))


def timeless(trial):
    curve = tuple(point.model_copy(update={"seconds": 0.0}) for point in trial.curve)
    return trial.model_copy(update={"seconds": 0.0, "memory": None, "curve": curve})


def test_a_seed_repeats_bit_for_bit_and_another_does_not(task, tiny, photographs):
    first, again = (timeless(run(photographs, task, tiny)) for _ in range(2))
    other = timeless(run(photographs, task, tiny, seed=1))
    assert first == again
    assert first.loss != other.loss


@pytest.mark.parametrize("build", [None, forgetful])
def test_training_does_not_depend_on_the_global_generator(task, tiny, photographs, build):
    torch.manual_seed(1)
    first = run(photographs, task, tiny, build=build)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert timeless(first) == timeless(run(photographs, task, tiny, build=build))
    assert torch.equal(before, torch.random.get_rng_state())


def first_batch(draws, task, protocol, seed):
    """The images that a network is given in its first step."""
    network, given = builder(task, protocol)(), []
    network.register_forward_pre_hook(lambda module, inputs: given.append(*inputs))
    where = ground(task, protocol)
    trial_training.Course(network, draws, where, seed=seed, rate=0.1, steps=1).go(None, ignore)
    return given[0]


def test_each_seed_has_its_own_order(task, tiny, photographs):
    plain = tiny.model_copy(update={"augment": "none"})
    one, other = (first_batch(photographs, task, plain, seed) for seed in (0, 1))
    assert not torch.equal(one, other)


def test_each_seed_has_its_own_augmentation(task, tiny, photographs):
    """Of the same image again and again, which has no order."""
    images, labels = photographs.images[:1].repeat(30, 1, 1, 1), photographs.labels[:1].repeat(30)
    one, other = (first_batch(Photographs(images, labels), task, tiny, n) for n in (0, 1))
    assert not torch.equal(one, other)


def test_a_network_learns_three_digits(task, tiny, photographs):
    longer = tiny.model_copy(update={"network": NetworkSpec(width=8), "steps": 80})
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


def test_test_images_are_looked_at_once_and_last(task, tiny, photographs):
    spy, looked = Spy(task.test), []
    run(
        photographs,
        replace(task, test=None),
        tiny,
        tests=spy,
        watch=lambda step, loss: looked.append(len(spy.seen)),
    )
    assert looked == [0] * tiny.steps
    assert spy.seen == list(range(len(task.test)))


def test_testing_is_no_part_of_what_training_takes(task, tiny, photographs, monkeypatch):
    clock = [0.0]

    class Slow(Spy):
        def read(self, indices):
            clock[0] += 1000
            return super().read(indices)

    def step(step, loss):
        clock[0] += 1

    monkeypatch.setattr(trial_training, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    slow = replace(task, validation=Slow(task.validation))
    trial = run(photographs, slow, tiny, tests=Slow(task.test), watch=step)
    assert trial.seconds == 12


def test_training_is_sgd_as_it_is_written(task):
    """Two steps on one full batch, against the update rule of momentum and weight decay."""
    protocol = Protocol(
        name="x", version=1, epochs=2, batch=6, learning_rates=(0.1,), momentum=0.5,
        weight_decay=0.01, augment="none",
    )  # fmt: skip
    draws = some(task, 2)
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
    task = replace(task, validation=range(0))
    trial_training.Course(network, draws, ground(task, protocol), seed=0, rate=0.1).go(
        None, ignore
    )
    torch.testing.assert_close(network[1].weight.detach(), weight)


class Stopped(Exception):
    pass


def interrupted(task, tiny, photographs, folder):
    """The slot of a trial in which Ctrl-C was typed after its sixth step."""

    def interrupt(step, loss):
        if step == 5:
            raise KeyboardInterrupt

    slot = trial_cache.Slot(folder / "slot")
    with pytest.raises(KeyboardInterrupt):
        run(photographs, task, tiny, slot=slot, watch=interrupt)
    return slot


def test_what_is_interrupted_between_two_steps_is_kept(task, tiny, photographs, tmp_path):
    slot = interrupted(task, tiny, photographs, tmp_path)
    steps = []
    finished = run(photographs, task, tiny, slot=slot, watch=lambda step, loss: steps.append(step))
    assert steps == [*range(6, 12)]
    assert timeless(finished) == timeless(run(photographs, task, tiny))


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_trial_whose_checkpoint_was_cut_short_starts_again(
    task, tiny, photographs, tmp_path, share
):
    slot = interrupted(task, tiny, photographs, tmp_path)
    path = tmp_path / "slot.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    steps = []
    finished = run(photographs, task, tiny, slot=slot, watch=lambda step, loss: steps.append(step))
    assert steps == [*range(12)]
    assert timeless(finished) == timeless(run(photographs, task, tiny))


def test_a_checkpoint_is_due_every_minute(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    slot = trial_cache.Slot(tmp_path / "slot")
    for start in (0.0, 60.0):
        clock[0] = start + 59.9
        assert not slot.due
        clock[0] = start + 60
        assert slot.due
        slot.save(1, {})


def test_images_are_mixed_where_the_protocol_says_so(task, tiny, photographs):
    plain = run(photographs, task, tiny).loss
    losses = {run(photographs, task, tiny.model_copy(update={"mix": m})).loss
              for m in ("cutmix", "mixup")}  # fmt: skip
    assert len(losses - {plain}) == 2


@pytest.mark.parametrize("stop", [0, 5, 10])
def test_a_trial_goes_on_where_it_was_stopped(
    task, tiny, photographs, tmp_path, monkeypatch, stop
):
    """With dropout, and with momentum."""
    monkeypatch.setattr(trial_cache, "EVERY", 0.0)
    train = partial(run, photographs, task, tiny, build=forgetful)
    undisturbed = train()
    slot = trial_cache.Slot(tmp_path / "slot")

    def watch(step, loss):
        if step == stop + 1:
            raise Stopped

    with pytest.raises(Stopped):
        train(slot=slot, watch=watch)
    steps = []
    again = trial_cache.Slot(tmp_path / "slot")
    finished = train(slot=again, watch=lambda step, loss: steps.append(step))
    assert steps == [*range(stop + 1, 12)]
    assert timeless(finished) == timeless(undisturbed)
    assert train(slot=again, watch=watch) == finished


def test_a_curve_is_that_of_validation_and_changes_nothing(task, tiny, photographs):
    batch = tiny.model_copy(update={"network": NetworkSpec(width=4, norm="batch"), "steps": 30})
    trial = run(photographs, task, batch)
    assert [point.step for point in trial.curve] == [3 * n for n in range(1, 11)]
    assert [p.seconds for p in trial.curve] == sorted(p.seconds for p in trial.curve)
    blind = run(photographs, replace(task, validation=range(0)), batch)
    assert (blind.accuracy, blind.loss, blind.curve) == (trial.accuracy, trial.loss, ())
    same = run(photographs, task, batch, tests=task.validation)
    assert same.accuracy == trial.curve[-1].accuracy


def test_confusion_counts_test_images(task, tiny, photographs):
    trial = run(photographs, task, tiny)
    table = torch.tensor(trial.confusion)
    assert table.sum(1).tolist() == task.test.counts()
    assert table.diag().sum() / table.sum() == pytest.approx(trial.accuracy)


@pytest.mark.parametrize(("classes", "counted"), [(100, True), (101, False)])
def test_confusion_is_kept_of_up_to_100_classes(task, tiny, photographs, classes, counted):
    labels = torch.arange(classes)
    tests = SimpleNamespace(labels=labels, counts=lambda: [1] * classes)
    large = replace(task, classes=tuple(map(str, range(classes))))
    where = ground(large, tiny, tests)
    one = trial_training.Course(forgetful(), photographs, where, seed=0, rate=0.1)
    trial = one.told(labels.roll(1), trial_training.Spent(None, None, 1.0))
    assert trial.accuracy == 0
    assert (trial.confusion is not None) == counted


@pytest.mark.parametrize("bias", [torch.nan, torch.inf, -torch.inf])
def test_answers_must_be_finite(task, bias):
    """Even those to one class alone, whose largest is a class like any other."""
    network = forgetful()
    assert len(answered(network, task.test, CPU)) == len(task.test)
    network[2].bias.data[1] = bias
    with pytest.raises(TrainingError, match="answers are not finite"):
        answered(network, task.test, CPU)


def test_what_a_trial_costs(task, tiny, photographs):
    trial = run(photographs, task, tiny)
    network = builder(task, tiny)()
    each = nets.count_flops(network, (task.channels, task.size, task.size)).training
    assert trial.flops == 12 * 16 * each
    assert trial.memory is None  # of a CPU, where it depends on what was freed before


def test_decoding_is_a_cost(task, tiny, priors, photographs):
    network = builder(task, tiny)()
    trained = nets.count_flops(network, (1, 8, 8)).training
    with FlopCounterMode(display=False) as counter:
        priors.batch(0, [0])
    assert counter.get_total_flops() > 0
    found = cost.flops_of_an_image(network, priors, task)
    assert found == trained + counter.get_total_flops()
    assert cost.flops_of_an_image(network, photographs, task) == trained


class Uncountable(torch.nn.Module):
    """A network that looks at values, which shapes alone do not have."""

    def __init__(self):
        super().__init__()
        self.last = torch.nn.Linear(64, 3)

    def forward(self, images):
        return self.last(images.flatten(1)) * (1 if images.mean().item() > -9 else 0)


class Weighing(torch.nn.Module):
    """A network without convolutions or matrix products, which is all that is counted."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, images):
        return images.flatten(1)[:, 30:33] * self.weight


@pytest.mark.parametrize("build", [Uncountable, Weighing])
def test_operations_that_cannot_be_counted_are_none(task, tiny, photographs, build):
    trial = run(photographs, task, tiny, build=build)
    assert trial.flops is None
    assert trial.accuracy > 0


def test_adamw_is_adamw(task, tiny, photographs):
    protocol = tiny.model_copy(update={"optimizer": "adamw", "steps": 1})
    network = builder(task, protocol)()
    before = [p.detach().clone() for p in network.parameters()]
    trial_training.Course(network, photographs, ground(task, protocol), seed=0, rate=0.1).go(
        None, ignore
    )
    for old, new in zip(before, network.parameters(), strict=True):
        moved = (new - old * (1 - 0.1 * protocol.weight_decay)).abs()
        assert moved.max() < 0.1001  # the first step of Adam is at most the rate
    assert moved.max() > 0.099


def test_a_loop_of_the_users_own(task, tiny, photographs):
    def train(network, draws, *, seed, device):
        images, labels = draws.batch(0, torch.arange(9), device=device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    own = replace(ground(task, tiny), train=train)
    trial = trials.run(photographs, builder(task, tiny), own, seed=0)
    assert (trial.images, trial.steps, trial.curve) == (9, 0, ())
    assert (trial.loss, trial.learning_rate) == (None, None)
    assert trial.accuracy != run(photographs, task, tiny).accuracy
